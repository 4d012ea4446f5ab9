"""Both backends under simulation-based calibration: ``python studies/calibration.py``.

On a two-level and a three-level Gaussian and a Student-t problem of the reference posteriors. What is
finished is kept in ``nestor-out/calibration``: the same command goes on, and with more simulations too.
"""

from __future__ import annotations

import sys
from pathlib import Path

from writing import arguments, write_record

from nestor import calibrate
from nestor.references import problem

ENGINES = ("numpyro", "pymc")
PROBLEMS = ("two-levels", "three-levels", "student-t")
OUT = Path("nestor-out") / "calibration"


def main() -> int:
    """Run the study and write its record."""
    simulations = arguments("simulations", 200, "simulations of each engine and problem")
    rows = []
    for name in PROBLEMS:
        for engine in ENGINES:
            found = calibrate(problem(name), engine, simulations, out=OUT / name)
            judgement = found.judgement
            power = judgement.detectable
            rows.append(
                {
                    "problem": name,
                    "engine": found.contender.name,
                    "simulations": simulations,
                    "ranked": len(found.ranks),
                    "quantities": len(found.quantities),
                    "verdict": found.verdict.value,
                    "reasons": list(judgement.reasons),
                    "p_min": float(judgement.p_adjusted.min()),
                    "detectable": None if power is None else vars(power),
                }
            )
            write_record("calibration", {"rows": rows, "ranked_draws": found.ranked_draws})
    return 0


if __name__ == "__main__":
    sys.exit(main())
