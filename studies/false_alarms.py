"""How often the procedure objects to an engine against itself: ``python studies/false_alarms.py``.

Pairs of runs with different seeds, each run in one pair only, of the real engines and of the exact one;
and pairs of two different right engines. No step may object more often than its level says.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

from rich.progress import track
from steps import Side, measure, objections
from writing import arguments, write_record

from nestor import registry
from nestor.backend import SamplerConfig
from nestor.contender import Contender
from nestor.references import problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nestor.problem import Problem

PROBLEM = "one-level"
CONFIG = SamplerConfig(chains=8, warmup=1000, draws=500, chain_method="sequential")
#: Contenders, and how many pairs of each against itself for every hundred asked for.
ENGINES = {"reference:exact": 200, "numpyro": 100, "pymc": 100}
#: What each step's family-wise level says.
NOMINAL = {"difference": 0.01, "margin": 0.01, "shape": 0.01, "joint": 0.01, "DISAGREE": 0.01}


def runs(of: Problem, text: str, count: int, first_seed: int) -> Iterator[Side]:
    """Sample again and again with one engine, compiled once."""
    from dataclasses import replace

    contender = Contender.parse_sampler(text, of.spec.level_names)
    place = {"device": "cpu", "dtype": "float64"}
    backend = registry.get(contender.backend).backend
    model = backend.compile(of, contender.formulation, sampler=contender.sampler, **place)
    reference = _reference(of, contender)
    for i in track(range(count), description=contender.name):
        config = replace(CONFIG, seed=first_seed + i)
        side = measure(contender.name, of, config, model.sample(config), reference)
        if side is None:
            sys.exit(f"{contender.name} breaks the contract of its arrays")
        yield side


def _reference(of: Problem, contender: Contender) -> Callable:
    backend = registry.get("reference").backend
    place = {"device": "cpu", "dtype": "float64"}
    return backend.compile(of, contender.formulation, sampler=None, **place).log_density


def study(pairs: int) -> dict[str, dict[str, object]]:
    """Count objections for each engine against itself, and for the real engines against each other."""
    of = problem(PROBLEM)
    counts: dict[str, dict[str, object]] = {}
    kept: dict[str, list[Side]] = {}
    for text, share in ENGINES.items():
        count = pairs * share // 100
        tally, waiting, several = Counter(), None, []
        for side in runs(of, text, 2 * count, first_seed=1_000):
            several.append(side)
            if waiting is None:
                waiting = side
                continue
            tally.update(k for k, yes in objections(of, waiting, side, joint=True).items() if yes)
            waiting = None
        kept[text] = several[:pairs] if text != "reference:exact" else []
        counts[f"{text} against itself"] = {"pairs": count, "counts": dict(tally)}
    tally = Counter()
    for a, b in zip(kept["numpyro"], kept["pymc"], strict=True):
        tally.update(k for k, yes in objections(of, a, b, joint=True).items() if yes)
    counts["numpyro against pymc"] = {"pairs": len(kept["pymc"]), "counts": dict(tally)}
    return counts


def main() -> int:
    """Run the study and write its record."""
    asked = arguments("pairs", 100, "pairs of each real engine against itself")
    found = study(asked)
    settings = {"problem": PROBLEM, "config": vars(CONFIG), "nominal": NOMINAL}
    write_record("false-alarms", settings | {"engines": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
