"""Which step of the procedure catches which wrong engine: ``python studies/mutants.py``.

With ``--add`` the rows of the record stay, and only mutants that it lacks are studied.

Every mutant meets exact draws again and again. Each step is tried as if all steps before it had passed,
so that the table shows what a step sees by itself; the first that objects is what a user would be told.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from rich.progress import track
from steps import STEPS, judged, measure
from writing import RESULTS, write_record

from nestor.agreement.density import compare_densities, density_points
from nestor.backend import SamplerConfig
from nestor.engines.formulation import Formulation
from nestor.references import problem

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures" / "mutants"))
from nestor_mutants import MUTANTS, Mutant

PROBLEM = "one-level"
CONFIG = SamplerConfig(chains=8, warmup=1000, draws=1000, chain_method="sequential")
_PLACE = {"device": "cpu", "dtype": "float64"}


def study(repeats: int, known: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Count, for each mutant and step, in how many of the repeats the step objects; add to what is known."""
    of = problem(PROBLEM)
    levels = of.spec.level_names
    formulations = {False: Formulation.parse([], levels), True: Formulation.marginalized(levels)}
    rights = {
        key: Mutant().compile(of, how, sampler="exact", **_PLACE)
        for key, how in formulations.items()
    }
    right, points = rights[False], density_points(of)
    truths = {key: [one.log_density(p) for p in points] for key, one in rights.items()}
    partners = []
    for i in track(range(repeats), description="exact"):
        config = replace(CONFIG, seed=10_000 + i)
        partners.append(measure("exact", of, config, right.sample(config), right.log_density))
    found: dict[str, dict[str, object]] = {}
    for one in MUTANTS:
        if one.mutant.name in known:
            found[one.mutant.name] = known[one.mutant.name]
            continue
        key = one.mutant.marginalizes
        model = one.mutant.compile(of, formulations[key], sampler="exact", **_PLACE)
        values = [model.log_density(point) for point in points]
        same = compare_densities(one.mutant.name, "float64", truths[key], values).same
        whitened = rights[key].density.whitened if key else None
        tally = Counter({"density": 0 if same else repeats})
        for i in track(range(repeats), description=one.mutant.name):
            config = replace(CONFIG, seed=20_000 + i)
            draws = model.sample(config)
            reference = rights[key].log_density
            side = measure(one.mutant.name, of, config, draws, reference, whitened)
            if side is None:
                tally["contract"] += 1
                continue
            seen = judged(of, partners[i], side).objections()
            tally.update(step for step, objects in seen.items() if objects)
        found[one.mutant.name] = {
            "fault": (one.mutant.__doc__ or "").strip(),
            "repeats": repeats,
            "counts": {step: tally[step] for step in ("density", *STEPS)},
            "disagrees by draws alone": tally["DISAGREE by draws"],
        }
    return found


def main() -> int:
    """Run the study and write its record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=20, help="of each mutant; default 20")
    parser.add_argument("--add", action="store_true", help="study mutants that the record lacks")
    asked = parser.parse_args()
    path = RESULTS / "mutants.json"
    known = json.loads(path.read_text())["mutants"] if asked.add else {}
    found = study(asked.repeats, known)
    settings = {"problem": PROBLEM, "config": vars(CONFIG)}
    write_record("mutants", settings | {"mutants": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
