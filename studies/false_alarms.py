"""How often the procedure objects to an engine against itself: ``python studies/false_alarms.py``.

Pairs of runs with different seeds, of the real engines and of the exact one, each run in one pair only; and
pairs of two different right engines, from the same runs. Of the pairs whose runs pass their gates - the
others get no comparison, the procedure calls them INCONCLUSIVE - no step may object to more than its level
says. Of all runs it is counted how often each gate objects.
"""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.progress import track
from steps import Side, judged, measure
from writing import arguments, write_record

from nestor.backend import SamplerConfig
from nestor.engines import registry
from nestor.engines.contender import Contender
from nestor.references import problem
from nestor.stats.diagnostics.gates import GATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nestor.data.problem import Problem

PROBLEM = "one-level"
CONFIG = SamplerConfig(chains=8, warmup=1000, draws=1000, chain_method="sequential")
#: Contenders, and how many pairs of each against itself for every hundred asked for.
ENGINES = {
    "reference:exact": 100,
    "numba@noncentered": 100,
    "numba@marginalized": 100,
    "numpyro@noncentered": 100,
    "pymc@noncentered": 100,
}
#: Two different right engines.
DIFFERENT = ("numpyro@noncentered", "pymc@noncentered")
#: What each step's family-wise level says.
NOMINAL = {"difference": 0.01, "margin": 0.01, "shape": 0.01, "DISAGREE": 0.01}


def runs(of: Problem, text: str, count: int, first_seed: int) -> Iterator[Side]:
    """Sample again and again with one engine, compiled once."""
    from dataclasses import replace

    contender = Contender.parse_sampler(text, of.spec.level_names)
    place = {"device": "cpu", "dtype": "float64"}
    backend = registry.get(contender.backend).backend
    model = backend.compile(of, contender.formulation, sampler=contender.sampler, **place)
    reference = _reference(of, contender)
    whitened = reference.whitened if contender.formulation.is_marginalized else None
    for i in track(range(count), description=contender.name):
        config = replace(CONFIG, seed=first_seed + i)
        draws = model.sample(config)
        side = measure(contender.name, of, config, draws, reference.log_density, whitened)
        if side is None:
            sys.exit(f"{contender.name} breaks the contract of its arrays")
        yield side


def _reference(of: Problem, contender: Contender) -> Any:
    backend = registry.get("reference").backend
    place = {"device": "cpu", "dtype": "float64"}
    return backend.compile(of, contender.formulation, sampler=None, **place)


class Tally:
    """How many pairs there were, how many were compared, and what objected to which quantity."""

    def __init__(self, of: Problem) -> None:
        self.problem = of
        self.pairs = 0
        self.compared = 0
        self.counts: Counter[str] = Counter()
        self.first: list[str] = []

    def add(self, a: Side, b: Side) -> None:
        """Judge one more pair."""
        self.pairs += 1
        if not (a.run.gates.passed and b.run.gates.passed):
            return
        self.compared += 1
        found = judged(self.problem, a, b)
        self.counts.update(step for step, objects in found.objections().items() if objects)
        self.first += found.first_objections()

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON data."""
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "pairs": self.pairs,
            "compared": self.compared,
            "counts": dict(self.counts),
            "objections": self.first,
        }


def gate_counts(sides: Sequence[Side]) -> dict[str, Any]:
    """In how many runs each gate objects, and the smallest slope of energies."""
    counts: Counter[str] = Counter()
    for side in sides:
        counts.update(set(side.run.gates.failed))
    slopes = [s.run.gates.energy_slope for s in sides if s.run.gates.energy_slope is not None]
    return {
        "runs": len(sides),
        "failed": {gate: counts[gate] for gate in GATES},
        "smallest_energy_slope": round(min(slopes), 3) if slopes else None,
    }


def study(pairs: int) -> Iterator[dict[str, dict[str, Any]]]:
    """Count objections for each engine against itself, and for the real engines against each other.

    Yields what has been counted so far, after each engine.
    """
    of = problem(PROBLEM)
    found: dict[str, dict[str, Any]] = {}
    gates: dict[str, dict[str, Any]] = {}
    kept: dict[str, list[Side]] = {}
    for text, share in ENGINES.items():
        sides = list(runs(of, text, 2 * pairs * share // 100, first_seed=1_000))
        kept[text] = sides[:pairs]
        gates[text] = gate_counts(sides)
        found[f"{text} against itself"] = _tally(of, sides[::2], sides[1::2])
        yield {"engines": found, "gates": gates}
    one, other = DIFFERENT
    found[f"{one} against {other}"] = _tally(of, kept[one], kept[other])
    yield {"engines": found, "gates": gates}


def _tally(of: Problem, one: Sequence[Side], other: Sequence[Side]) -> dict[str, Any]:
    tally = Tally(of)
    for a, b in track(list(zip(one, other, strict=True)), description="pairs"):
        tally.add(a, b)
    return tally.to_dict()


def main() -> int:
    """Run the study and write its record."""
    asked = arguments("pairs", 100, "pairs of each real engine against itself")
    settings = {"problem": PROBLEM, "config": vars(CONFIG), "nominal": NOMINAL}
    for found in study(asked):
        write_record("false-alarms", settings | found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
