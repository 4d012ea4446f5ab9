"""One pytest test of every check, for a backend's own test suite."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from nestor.conformance.check import TIERS
from nestor.conformance.kit import plan
from nestor.conformance.report import BAD
from nestor.conformance.running import run_check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nestor.conformance.check import Check
    from nestor.conformance.session import Session
    from nestor.engines.protocol import Backend


def parametrize(
    backend: str | Backend,
    *,
    tiers: Sequence[str] = TIERS,
    sampler: str | None = None,
    expected_failures: Mapping[str, str] | None = None,
    only: str | None = None,
    quick: bool = False,
) -> Any:
    """Return a pytest mark that gives a test one call for each check of the kit.

    The test takes an argument ``check`` and calls it. A check that the backend's capabilities exclude is
    a pytest skip with its reason; an expected failure is a strict xfail. Models and runs are shared by all
    checks of one mark.

    Parameters
    ----------
    backend, tiers, sampler, expected_failures, only, quick
        As in `run_conformance`.

    Returns
    -------
    pytest.MarkDecorator

    Examples
    --------
    >>> @parametrize("mybackend")  # doctest: +SKIP
    ... def test_conformance(check):
    ...     check()
    """
    import pytest

    found = plan(
        backend,
        tiers=tiers,
        sampler=sampler,
        expected_failures=expected_failures,
        only=only,
        quick=quick,
    )
    cases = [
        pytest.param(
            partial(_call, check, found.session),
            id=check.id,
            marks=[pytest.mark.xfail(reason=found.expected[check.id], strict=True)]
            if check.id in found.expected
            else [],
        )
        for check in found.checks
    ]
    return pytest.mark.parametrize("check", cases)


def _call(check: Check, session: Session) -> None:
    """Run a check and tell pytest what became of it."""
    import pytest

    result = run_check(check, session)
    if result.outcome == "skipped":
        pytest.skip(result.reason)
    if result.outcome in BAD:
        pytest.fail(f"{check.id}: {result.outcome}: {result.reason}", pytrace=False)
