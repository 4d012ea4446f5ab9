"""A check of the kit: a name, the words of what it needs, and a function that raises where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from nestor.engines.formulation import Centering, Coefficients, Formulation, Likelihood
from nestor.engines.protocol import Capabilities, ChainMethod, Device, DType, Missing
from nestor.model.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nestor.conformance.session import Session
    from nestor.engines.protocol import Backend

Tier = Literal["api", "density", "posterior"]
TIERS: tuple[Tier, ...] = get_args(Tier)

#: Every word that `Capabilities` must either offer or give a reason for, by the field that offers it.
UNIVERSE: dict[str, tuple[str, ...]] = {
    "families": tuple(FAMILIES),
    "centering": get_args(Centering),
    "devices": get_args(Device),
    "dtypes": get_args(DType),
    "chain_methods": get_args(ChainMethod),
    "likelihoods": get_args(Likelihood),
    "coefficients": get_args(Coefficients),
}


class ConformanceFailure(Exception):  # noqa: N818 - a finding about a backend, not an error of the kit
    """A check has found that a backend breaks the contract; its text says how."""


class NotOffered(Exception):  # noqa: N818 - it ends a check and is never shown as an error
    """There is nothing to check; the text is the reason of the skip."""


def expect(condition: object, message: str) -> None:
    """Fail the running check with `message` unless `condition` holds."""
    if not condition:
        raise ConformanceFailure(message)


@dataclass(frozen=True)
class Check:
    """One check of the kit on one case.

    Parameters
    ----------
    tier : {"api", "density", "posterior"}
        Which part of the kit it belongs to.
    name : str
        What it checks, as a sentence with underscores.
    run : callable
        Takes the session; raises where the check fails, and may return a remark for the report.
    case : str
        On what: a sampler, a model, a formulation; empty where there is one case only.
    words : frozenset of str
        What the case needs. Where the backend refuses the case by `Unsupported`, the check is a skip if
        `Capabilities.reasons` has a reason under these words, and fails otherwise.
    quick : bool
        Whether it is part of the reduced kit.
    """

    tier: Tier
    name: str
    run: Callable[[Session], str | None] = field(repr=False, compare=False)
    case: str = ""
    words: frozenset[str] = frozenset()
    quick: bool = True

    @property
    def id(self) -> str:
        """``tier.name[case]``: the name under which an expected failure is declared."""
        return f"{self.tier}.{self.name}" + (f"[{self.case}]" if self.case else "")


def _is_text(found: object) -> bool:
    return isinstance(found, str) and bool(found)


def _is_usable(found: Capabilities) -> bool:
    """Whether every field is of its type, so that checks can be chosen by it."""
    sets = [getattr(found, name) for name in UNIVERSE]
    if not all(isinstance(words, frozenset) and all(map(_is_text, words)) for words in sets):
        return False
    reasons: object = found.reasons
    return isinstance(reasons, Mapping) and all(
        isinstance(key, Missing) and _is_text(reason) for key, reason in reasons.items()
    )


@dataclass(frozen=True)
class Subject:
    """The backend that is checked.

    Parameters
    ----------
    backend : Backend
        The backend.
    capabilities : Capabilities
        What it says it can do.
    samplers : tuple of str
        Those of its samplers that are checked.
    """

    backend: Backend
    capabilities: Capabilities
    samplers: tuple[str, ...]

    @classmethod
    def of(cls, backend: Backend, sampler: str | None = None) -> Self | None:
        """Return what a backend says of itself; None where it is of other types than the contract's.

        Parameters
        ----------
        backend : Backend
            What is checked.
        sampler : str or None
            The only one of its samplers to check.
        """
        try:
            name, samplers, found = backend.name, backend.samplers, backend.capabilities()
        except Exception:  # noqa: BLE001 - the checks of what it declares report it
            return None
        if not (_is_text(name) and isinstance(samplers, tuple) and all(map(_is_text, samplers))):
            return None
        if not isinstance(found, Capabilities) or not _is_usable(found):
            return None
        return cls(backend, found, samplers if sampler is None else (sampler,))

    def offers(self, field_name: str) -> tuple[str, ...]:
        """Return the known words that a field of the capabilities has, in a fixed order."""
        offered = getattr(self.capabilities, field_name)
        return tuple(word for word in UNIVERSE[field_name] if word in offered)

    def lacks(self, field_name: str) -> tuple[str, ...]:
        """Return the known words that a field of the capabilities has not, in a fixed order."""
        offered = self.offers(field_name)
        return tuple(word for word in UNIVERSE[field_name] if word not in offered)

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the capabilities that concern this backend.

        Chain methods only where chains are run, and centring only where coefficients are sampled.
        """
        unused = set() if self.samplers else {"chain_methods"}
        if "sampled" not in self.offers("coefficients"):
            unused.add("centering")
        return tuple(name for name in UNIVERSE if name not in unused)

    @property
    def coefficients(self) -> tuple[str, ...]:
        """What is done with coefficients: sampled, marginalized or both; the first is the usual one."""
        return self.offers("coefficients")

    def formulation(self, levels: Sequence[str], coefficients: str | None = None) -> Formulation:
        """Return one formulation that is offered: non-centred and over rows, where these are."""
        if (coefficients or self.coefficients[0]) == "marginalized":
            return Formulation.marginalized(levels)
        ways, likelihoods = self.offers("centering"), self.offers("likelihoods")
        how: Any = "noncentered" if "noncentered" in ways or not ways else ways[0]
        likelihood: Any = likelihoods[0] if likelihoods else "rows"
        return Formulation(tuple(levels), (how,) * len(levels), likelihood)

    @property
    def chain_method(self) -> str:
        """The chain method of runs that are about something else."""
        return next(iter(self.offers("chain_methods")), "sequential")

    def reason(self, words: Iterable[str]) -> str | None:
        """Return the reason given for what `words` need; its key has one of them, or several together."""
        return self.capabilities.reason(words)


@dataclass(frozen=True)
class Engine:
    """A sampler, and what it does with coefficients.

    Parameters
    ----------
    sampler : str
        Its name.
    coefficients : {"sampled", "marginalized"}
        What is asked of it.
    case : str
        How checks call it.
    """

    sampler: str
    coefficients: str
    case: str

    def __str__(self) -> str:
        return self.case

    @property
    def words(self) -> frozenset[str]:
        """What it needs."""
        return frozenset({self.sampler, self.coefficients})


def engines(subject: Subject, *, every: bool) -> Iterator[Engine]:
    """Yield every sampler in the usual way, and if asked for also in the other one, where it is offered."""
    for sampler in subject.samplers:
        for i, how in enumerate(subject.coefficients[: None if every else 1]):
            yield Engine(sampler, how, f"{sampler}, {how}" if i else sampler)


def for_samplers(
    subject: Subject,
    by_name: Mapping[str, Callable[[Session, Engine], str | None]],
    *words: str,
    every: bool = False,
) -> Iterator[Check]:
    """Yield one api check for every name and engine (a sampler, coefficients sampled or marginalized).

    Parameters
    ----------
    subject : Subject
        The backend that is checked.
    by_name : mapping of str to callable
        Takes the session and an engine.
    *words : str
        What the checks need beside the sampler.
    every : bool
        Whether to check each sampler both with sampled and with marginalized coefficients.
    """
    for engine in engines(subject, every=every):
        for name, run in by_name.items():
            yield Check(
                "api", name, partial(_with, run, engine), engine.case, engine.words | set(words)
            )


def _with(
    run: Callable[[Session, Engine], str | None], engine: Engine, session: Session
) -> str | None:
    return run(session, engine)
