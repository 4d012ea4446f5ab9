"""The kit: lists the checks of a backend, runs them, and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nestor.conformance import (
    declaration,
    density,
    drawing,
    evaluation,
    optional,
    options,
    posterior,
    recovery,
    refusals,
    seeds,
)
from nestor.conformance.check import TIERS, Check, Subject
from nestor.conformance.report import ConformanceReport, Result
from nestor.conformance.running import judged, run_check
from nestor.conformance.session import Session
from nestor.engines import registry
from nestor.engines.protocol import Capabilities
from nestor.errors import EngineFailed, SpecError
from nestor.errors.text import did_you_mean, printable
from nestor.runner.contract import check_versions

if TYPE_CHECKING:
    from nestor.engines.protocol import Backend

#: Chance that a correct backend fails the posterior tier: shared out among its checks.
FALSE_ALARM = 1e-4

_MODULES = (
    declaration,
    refusals,
    evaluation,
    drawing,
    seeds,
    options,
    optional,
    density,
    recovery,
    posterior,
)


@dataclass(frozen=True)
class Progress:
    """What a listener hears: a check begins, or has its result.

    Parameters
    ----------
    check : str
        The check's id.
    number, total : int
        It is the so-and-so-many-th of all.
    result : Result or None
        None when it begins.
    """

    check: str
    number: int
    total: int
    result: Result | None = None


Listener = Callable[[Progress], None]


@dataclass(frozen=True)
class Plan:
    """The checks that a call of the kit is about.

    Parameters
    ----------
    backend : Backend
        What is checked.
    checks : tuple of Check
        Those to run, in order.
    expected : mapping of str to str
        Ids of checks that are expected to fail, with reasons.
    session : Session
        What the checks share.
    """

    backend: Backend
    checks: tuple[Check, ...]
    expected: Mapping[str, str]
    session: Session

    def run(self, check: Check) -> Result:
        """Run one check and judge it by what is expected."""
        return judged(run_check(check, self.session), self.expected.get(check.id))


def plan(
    backend: str | Backend,
    *,
    tiers: Sequence[str] = TIERS,
    sampler: str | None = None,
    expected_failures: Mapping[str, str] | None = None,
    only: str | None = None,
    quick: bool = False,
) -> Plan:
    """List the checks of a backend; takes the arguments of `run_conformance`."""
    found = registry.get(backend).backend if isinstance(backend, str) else backend
    if unknown := [tier for tier in tiers if tier not in TIERS]:
        meant = did_you_mean(unknown[0], TIERS)
        raise SpecError(f"unknown tiers {unknown}; the tiers are {', '.join(TIERS)}.{meant}")
    if not tiers:
        raise SpecError(f"no tier is asked for; the tiers are {', '.join(TIERS)}.")
    whole = Subject.of(found)
    if whole is None:
        # Nothing else can be chosen, whatever is asked for; one of these at least fails.
        nothing: frozenset[str] = frozenset()
        empty = Subject(found, Capabilities(nothing, nothing, nothing, nothing, nothing), ())
        return Plan(found, tuple(declaration.types()), {}, Session(empty, FALSE_ALARM))
    everything = _checks(whole)
    expected = _declared(found) | dict(expected_failures or {})
    _check_expected(expected, {check.id for check in everything})
    if sampler is not None and sampler not in whole.samplers:
        have = ", ".join(whole.samplers) or "none"
        meant = did_you_mean(sampler, whole.samplers)
        raise SpecError(f"backend {found.name!r} has no sampler {sampler!r}; it has {have}.{meant}")
    subject = whole if sampler is None else replace(whole, samplers=(sampler,))
    kept = everything if sampler is None else _checks(subject)
    kept = tuple(
        c
        for c in kept
        if c.tier in tiers and (c.quick or not quick) and (only is None or only in c.id)
    )
    if not kept:
        raise SpecError(f"no check of backend {found.name!r} has {only!r} in its id.")
    n_posterior = sum(check.tier == "posterior" for check in everything)
    return Plan(found, kept, expected, Session(subject, FALSE_ALARM / max(1, n_posterior)))


def run_conformance(
    backend: str | Backend,
    *,
    tiers: Sequence[str] = TIERS,
    sampler: str | None = None,
    expected_failures: Mapping[str, str] | None = None,
    only: str | None = None,
    quick: bool = False,
    listener: Listener | None = None,
) -> ConformanceReport:
    """Check a backend against the contract, in this process.

    Parameters
    ----------
    backend : str or Backend
        The name of an installed backend, or a backend.
    tiers : sequence of {"api", "density", "posterior"}
        *api*: attributes, refusals, names, shapes, seeds, options, progress. *density*: log densities
        against the reference over a grid of models. *posterior*: draws against exact answers.
    sampler : str, optional
        Only this one of the backend's samplers.
    expected_failures : mapping of str to str, optional
        Checks that are known to fail, by id, with the reason; added to the backend's own attribute
        ``expected_failures``, if it has one.
    only : str, optional
        Only checks that have this text in their ids.
    quick : bool
        A part of the density grid and of the posterior tier.
    listener : callable, optional
        Called before and after each check.

    Returns
    -------
    ConformanceReport
        A backend that breaks the contract is a row of it, and raises nothing.

    Raises
    ------
    SpecError
        For an unknown or missing backend, sampler or tier, and for an expected failure that names no
        check.
    """
    found = plan(
        backend,
        tiers=tiers,
        sampler=sampler,
        expected_failures=expected_failures,
        only=only,
        quick=quick,
    )
    heard = listener or _ignore
    results: list[Result] = []
    for number, check in enumerate(found.checks, 1):
        heard(Progress(check.id, number, len(found.checks)))
        results.append(found.run(check))
        heard(Progress(check.id, number, len(found.checks), results[-1]))
    return report_of(found.backend, results)


def report_of(backend: Backend, results: Iterable[Result]) -> ConformanceReport:
    """Make the report of a backend; versions that it cannot tell are left out (a check says so)."""
    try:
        versions = check_versions(backend)
    except EngineFailed:  # the check versions_are_named reports it
        versions = {}
    name: object = getattr(backend, "name", None)
    shown = name if isinstance(name, str) and name else type(backend).__name__
    return ConformanceReport(printable(shown), versions, tuple(results))


def _declared(backend: Backend) -> dict[str, str]:
    """Return the failures that a backend itself expects; that they are no mapping, a check says."""
    declared: object = getattr(backend, "expected_failures", {})
    return dict(declared) if isinstance(declared, Mapping) else {}


def _checks(subject: Subject) -> tuple[Check, ...]:
    return tuple(check for module in _MODULES for check in module.checks(subject))


def _check_expected(expected: Mapping[str, str], known: set[str]) -> None:
    for check, reason in expected.items():
        if check not in known:
            raise SpecError(f"the expected failure {check!r} names no check of this backend.")
        if not isinstance(reason, str) or not reason.strip():
            raise SpecError(f"the expected failure {check!r} needs a reason.")


def _ignore(_: Progress) -> None:
    """Listen to nothing."""
