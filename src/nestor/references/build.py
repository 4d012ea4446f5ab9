"""Make the reference posteriors anew: ``python -m nestor.references.build [NAME ...]``, minutes each.

Two independent implementations sample each problem in ten chains, thinned to 10,000 nearly independent
draws. A posterior is written only if every source meets the requirements and the two agree.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.arguments import read_contender
from nestor.agreement.density import ReferenceDensity
from nestor.agreement.engine_result import EngineFailure
from nestor.agreement.pipeline import run_engine
from nestor.agreement.verdict import PairSide, Verdict, judge
from nestor.engines.protocol import SamplerConfig
from nestor.errors import DataError, EngineFailed
from nestor.posterior.quantities import ComparedQuantities
from nestor.references.posterior import REQUIREMENTS, Posterior
from nestor.references.problems import NAMES, problem
from nestor.runner.datatree import posterior_of, stats_of
from nestor.runner.store import write_json
from nestor.stats.diagnostics import gates, summaries
from nestor.stats.diagnostics.estimators import bfmi

if TYPE_CHECKING:
    from nestor.agreement.engine_result import EngineResult
    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray
    from nestor.stats.diagnostics import Gates, Summaries


FOLDER = Path(__file__).parent / "posteriors"
CHAINS, KEPT, WARMUP, SEED = 10, 1_000, 2_000, 20_261_121
#: Draws per kept draw, tried in turn; and a small step, so that nothing diverges.
THINNING = (10, 30, 100)
TARGET_ACCEPT = 0.99


def engines_for(family: str) -> tuple[str, str]:
    """Two engines with independent implementations; the exact one where there is one.

    Formulations are named: all sum over rows, so that formulations that do not are held to them.
    """
    first = "reference:exact" if family == "gaussian" else "pymc"
    return f"{first}@noncentered", "numpyro@noncentered"


def build(name: str) -> Posterior:
    """Sample, check and join the sources of one posterior.

    Raises
    ------
    EngineFailed
        If an engine fails or cannot meet the requirements.
    DataError
        If the sources do not agree.
    """
    of = problem(name)
    one, other = (_source(of, text) for text in engines_for(of.spec.family))
    margin = REQUIREMENTS["margin"]
    pair = judge(one.side, other.side, margin=margin, sd_margin=margin)
    if pair.verdict is not Verdict.AGREE:
        raise DataError(f"{name}: {pair.verdict.value}: {'; '.join(pair.reasons)}")
    a, b = one.summaries, other.summaries
    return Posterior(
        name=name,
        fingerprint=of.fingerprint,
        labels=ComparedQuantities(of).labels,
        estimate=(a.estimate + b.estimate) / 2,
        mcse=np.hypot(a.mcse, b.mcse) / 2,
        ess=a.ess + b.ess,
        sources=[one.record, other.record],
        agreement={"verdict": pair.verdict.value, "smallest_margin": pair.smallest_margin},
    )


@dataclass(frozen=True, eq=False)
class _Source:
    """One engine's thinned draws that meet the requirements."""

    side: PairSide
    summaries: Summaries
    record: dict[str, Any]


def _source(of: Problem, text: str) -> _Source:
    """Sample with one engine, thinning until neighbouring draws are nearly independent."""
    exact = text.startswith("reference:exact")
    contender = read_contender(text, of)
    quantities, reference = ComparedQuantities(of), ReferenceDensity(of)
    for thin in (1,) if exact else THINNING:
        config = contender.config(
            SamplerConfig(CHAINS, WARMUP, KEPT * thin, SEED, None if exact else TARGET_ACCEPT)
        )
        with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
            result = run_engine(of, contender, config, Path(folder) / "log", reference=reference)
        # Gates that fail before thinning are no obstacle: those of the thinned draws are asked.
        if isinstance(result, EngineFailure) or result.status == "density_failed":
            raise EngineFailed(f"{text}: {result.message}")
        flat = quantities.flatten(posterior_of(of, result.tree), result.log_likelihood)
        draws = flat[:, thin - 1 :: thin]
        found = summaries(draws)
        checked = _gates(of, draws, found, result)
        record = _record(result, thin, draws, found, checked)
        if not (unmet := _unmet(record)):
            sampled = result.sampled_density
            side = PairSide(
                contender.name,
                quantities.labels,
                found,
                checked,
                density_ok=True,
                sampled_ok=None if sampled is None else sampled.same,
            )
            return _Source(side, found, record)
    raise EngineFailed(f"{text} does not meet the requirements: {', '.join(unmet)}")


def _gates(of: Problem, draws: FloatArray, found: Summaries, result: EngineResult) -> Gates:
    quantities = ComparedQuantities(of)
    return gates(
        draws,
        quantities.labels,
        quantities.is_node,
        energy=None,
        diverging=stats_of(result.tree)["diverging"][:, : draws.shape[1]],
        summary=found,
    )


def _record(
    result: EngineResult, thin: int, draws: FloatArray, found: Summaries, checked: Gates
) -> dict[str, Any]:
    stats = stats_of(result.tree)
    energies = stats.get("energy")
    return {
        "engine": result.name,
        "versions": dict(result.versions),
        "chains": draws.shape[0],
        "draws": int(draws.shape[0] * draws.shape[1]),
        "thinned_by": thin,
        "warmup": WARMUP,
        "seed": SEED,
        "rhat_max": round(float(found.rhat.max()), 5),
        "lag1_max": round(float(np.abs(_lag1(draws)).max()), 4),
        "ebfmi_min": None if energies is None else round(float(bfmi(energies).min()), 3),
        "divergences": int(stats["diverging"].sum()),
        "gates_passed": checked.passed,
    }


def _lag1(draws: FloatArray) -> FloatArray:
    """Autocorrelation of neighbouring draws, mean over chains, (quantity,)."""
    centred = draws - draws.mean(axis=1, keepdims=True)
    products = (centred[:, 1:] * centred[:, :-1]).sum(axis=1)
    correlation: FloatArray = (products / np.square(centred).sum(axis=1)).mean(axis=0)
    return correlation


def _unmet(record: dict[str, Any]) -> list[str]:
    ebfmi = record["ebfmi_min"]
    checks = {
        f"{record['draws']} draws": record["draws"] >= REQUIREMENTS["draws"],
        f"R-hat {record['rhat_max']}": record["rhat_max"] < REQUIREMENTS["rhat_below"],
        f"lag-1 autocorrelation {record['lag1_max']}": record["lag1_max"]
        < REQUIREMENTS["lag1_below"],
        # Exact draws have no energy.
        f"E-BFMI {ebfmi}": ebfmi is None or ebfmi > REQUIREMENTS["ebfmi_above"],
        f"{record['divergences']} divergences": record["divergences"]
        == REQUIREMENTS["divergences"],
        "gates": record["gates_passed"],
    }
    return [text for text, met in checks.items() if not met]


def main(names: list[str]) -> int:
    """Build the posteriors of `names`, by default all, and write them beside this module."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or NAMES:
        found = build(name)
        write_json(FOLDER / f"{name}.json", found.to_dict())
        margin = found.agreement["smallest_margin"]
        sys.stdout.write(f"{name}: sources agree within {margin:.3f} posterior sd\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
