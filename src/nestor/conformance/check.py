"""What a check is: a name, the words of what it needs, and a function that raises where it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from nestor.backend import ChainMethod, Device, DType
from nestor.families import FAMILIES
from nestor.formulation import Centering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from nestor.backend import Backend, Capabilities
    from nestor.conformance.session import Session

Tier = Literal["api", "density", "posterior"]
TIERS: tuple[Tier, ...] = get_args(Tier)

#: Every word that `Capabilities` must either offer or give a reason for, by the field that offers it.
UNIVERSE: dict[str, tuple[str, ...]] = {
    "families": tuple(FAMILIES),
    "centering": get_args(Centering),
    "devices": get_args(Device),
    "dtypes": get_args(DType),
    "chain_methods": get_args(ChainMethod),
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
        """Fields of the capabilities that concern this backend: chain methods only where chains are run."""
        return tuple(name for name in UNIVERSE if name != "chain_methods" or self.samplers)

    def centering(self, n_levels: int, *, prefer: str = "noncentered") -> tuple[Centering, ...]:
        """Return one offered way of centring for all levels, the preferred one where it is offered."""
        offered = self.offers("centering")
        how = prefer if prefer in offered or not offered else offered[0]
        return (how,) * n_levels  # type: ignore[return-value]

    @property
    def chain_method(self) -> str:
        """The chain method of runs that are about something else."""
        return next(iter(self.offers("chain_methods")), "sequential")

    def reason(self, words: Iterable[str]) -> str | None:
        """Return the reason given for what `words` need; its key is one of them, or several together."""
        have = set(words)
        for key, reason in self.capabilities.reasons.items():
            if key in have or set(key.split()) <= have:
                return reason
        return None


def for_samplers(
    subject: Subject,
    by_name: Mapping[str, Callable[[Session, str], str | None]],
    *words: str,
) -> Iterator[Check]:
    """Yield api checks whose functions take a sampler, one for each sampler.

    Parameters
    ----------
    subject : Subject
        The backend that is checked.
    by_name : mapping of str to callable
        Takes the session and a sampler's name.
    *words : str
        What the checks need beside the sampler.
    """
    for sampler in subject.samplers:
        for name, run in by_name.items():
            yield Check(
                "api", name, partial(_with, run, sampler), sampler, frozenset({sampler, *words})
            )


def _with(run: Callable[[Session, str], str | None], sampler: str, session: Session) -> str | None:
    return run(session, sampler)
