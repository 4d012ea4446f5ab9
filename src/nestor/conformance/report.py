"""Results as data: one row for every check, and what they come to."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from nestor.errors.text import short_repr

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from nestor.conformance.check import Tier

Outcome = Literal[
    "passed", "failed", "error", "skipped", "expected failure", "unexpected pass", "out of time"
]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
#: Outcomes with which a backend does not conform.
BAD: frozenset[Outcome] = frozenset({"failed", "error", "unexpected pass"})


@dataclass(frozen=True)
class Result:
    """What became of one check.

    Parameters
    ----------
    tier, check, case : str
        Which check; together they are its `id`.
    outcome : str
        One of `OUTCOMES`. "failed" breaks the contract; "error" is an exception that no check asked for;
        an "unexpected pass" was declared as an expected failure.
    reason : str
        Why, where it did not pass; for one that passed, a remark or nothing.
    seconds : float
        Wall time. What several checks share, such as a compiled model, counts for the first of them.
    traceback : str
        Of an error: where it was raised, or the end of what a process that died had printed.
    """

    tier: Tier
    check: str
    case: str
    outcome: Outcome
    reason: str
    seconds: float
    traceback: str = ""

    @property
    def id(self) -> str:
        """``tier.check[case]``."""
        return f"{self.tier}.{self.check}" + (f"[{self.case}]" if self.case else "")


@dataclass(frozen=True)
class ConformanceReport:
    """The table of checks of one backend.

    Parameters
    ----------
    backend : str
        The backend's name.
    versions : mapping of str to str
        What was checked.
    results : tuple of Result
        One row for every check, in the order in which they ran.
    """

    backend: str
    versions: Mapping[str, str]
    results: tuple[Result, ...]

    __repr__ = short_repr

    @property
    def ok(self) -> bool:
        """Whether the backend conforms: all was run, nothing failed, no expected failure passed."""
        return self.n_run > 0 and not self.bad and not self.out_of_time

    @property
    def bad(self) -> tuple[Result, ...]:
        """Results with which the backend does not conform."""
        return tuple(r for r in self.results if r.outcome in BAD)

    @property
    def out_of_time(self) -> tuple[Result, ...]:
        """Checks that the time did not suffice for: they show nothing either way."""
        return tuple(r for r in self.results if r.outcome == "out of time")

    @property
    def n_run(self) -> int:
        """Number of checks that ran: all but the skipped ones and those there was no time for."""
        return sum(r.outcome not in ("skipped", "out of time") for r in self.results)

    @property
    def seconds(self) -> float:
        """Wall time of all checks."""
        return sum(r.seconds for r in self.results)

    def counts(self, tier: Tier | None = None) -> dict[Outcome, int]:
        """Return how many checks had each outcome, in one tier or in all; outcomes of none are left out."""
        found = Counter(r.outcome for r in self.results if tier in (None, r.tier))
        return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Tiers that have a result."""
        return tuple(dict.fromkeys(r.tier for r in self.results))

    def to_frame(self) -> pd.DataFrame:
        """Return the results as a table, one row for every check."""
        import pandas as pd

        columns = [*Result.__dataclass_fields__]
        return pd.DataFrame([asdict(r) for r in self.results], columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "backend": self.backend,
            "versions": dict(self.versions),
            "ok": self.ok,
            "checks": len(self.results),
            "run": self.n_run,
            "seconds": self.seconds,
            "counts": {tier: self.counts(tier) for tier in self.tiers},
            "results": [{"id": r.id, **asdict(r)} for r in self.results],
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2)
