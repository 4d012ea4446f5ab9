"""Whether two versions of nestor draw the same: ``python studies/same_draws.py FILE``.

Fits three small problems with every engine and formulation and hashes the draws and the log density at each
draw. The first run writes FILE; a later one, of another version on the same machine and the same libraries,
compares with it and says which differ. Another processor or library rounds differently, so that no FILE is
kept here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

import nestor

ENGINES = ("reference:exact", "numba", "pymc:nutpie", "pymc:pymc", "numpyro")
FORMULATIONS = ("noncentered", "centered", "marginalized")
say = Console(soft_wrap=True).print
CONFIG = {"chains": 2, "warmup": 100, "draws": 50, "seed": 20}


def problems() -> dict[str, nestor.Problem]:
    """Return a balanced tree, one with weights and covariates, and one with robust errors."""
    rng = np.random.default_rng(41)
    n = 60
    h = np.arange(n) % 12
    table = pd.DataFrame(
        {
            "y": rng.standard_normal(n) + 0.5 * (h // 4),
            "x": rng.standard_normal(n),
            "z": rng.standard_normal(n),
            "w": rng.uniform(0.5, 2.0, n),
            "g": h // 4,
            "h": h,
        }
    ).round(6)
    formulas = {
        "two levels": ("y ~ x + (x || g/h)", {}),
        "weights and a covariate": ("y ~ z + (1 | g/h)", {"weights": "w", "scale": "parent"}),
        "robust": ("y ~ x + (x || g)", {"family": "student_t"}),
    }
    return {
        name: nestor.Problem(nestor.ModelSpec.from_formula(formula, **options), table)
        for name, (formula, options) in formulas.items()
    }


def hashes() -> dict[str, str]:
    """Hash the draws of every engine, formulation and problem; what none can do says so."""
    cases = [
        (name, problem, engine, formulation)
        for name, problem in problems().items()
        for engine in ENGINES
        for formulation in FORMULATIONS
    ]
    found = {}
    for name, problem, engine, formulation in track(cases, description="fits"):
        key = f"{name}, {engine}@{formulation}"
        try:
            fit = nestor.fit(problem, f"{engine}@{formulation}", progress=False, **CONFIG)
        except nestor.NestorError as error:
            found[key] = type(error).__name__
            continue
        found[key] = _hash(fit)
    return found


def _hash(fit: object) -> str:
    digest = hashlib.sha256()
    posterior = fit["posterior"].dataset
    for variable in sorted(map(str, posterior.data_vars)):
        digest.update(variable.encode())
        digest.update(
            np.ascontiguousarray(posterior[variable].to_numpy(), dtype=np.float64).tobytes()
        )
    digest.update(fit["sample_stats"].dataset["lp"].to_numpy().astype(np.float64).tobytes())
    return digest.hexdigest()[:32]


def main() -> int:
    """Write the hashes, or compare them with those of another version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    warnings.simplefilter("ignore", nestor.ConvergenceWarning)
    found = hashes()
    if not file.exists():
        file.write_text(json.dumps(found, indent=1) + "\n")
        say(f"wrote {len(found)} hashes to {file}")
        return 0
    before = json.loads(file.read_text())
    other = [key for key in sorted(before | found) if before.get(key) != found.get(key)]
    for key in other:
        say(f"{key}: {before.get(key)} before, {found.get(key)} now")
    say(f"{len(found) - len(other)} of {len(found)} fits are the same")
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
