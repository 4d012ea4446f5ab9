"""The two things that an engine is asked for: log densities at points, and draws."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestor.backend import Draws, Timings
from nestor.datatree import to_datatree
from nestor.runner.job import Job, Outcome
from nestor.runner.process import Listener, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from nestor.backend import SamplerConfig
    from nestor.contender import Contender
    from nestor.problem import Problem


def evaluate(
    problem: Problem,
    contender: Contender,
    points: Sequence[dict[str, NDArray[np.float64]]],
    log: Path,
    *,
    timeout: float | None = None,
    listener: Listener | None = None,
) -> tuple[Outcome, list[float] | None]:
    """Evaluate an engine's log density at points, in a process of its own.

    Returns
    -------
    outcome : Outcome
        How the process ended.
    log_densities : list of float or None
        One per point; None if it did not end well.
    """
    job = Job(problem, contender, points=tuple(points))
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        outcome = run(job, Path(folder), log, timeout=timeout, listener=listener)
    texts = outcome.result.get("log_densities")
    return outcome, [float(text) for text in texts] if isinstance(texts, list) else None


def sample(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    log: Path,
    *,
    timeout: float | None = None,
    listener: Listener | None = None,
) -> tuple[Outcome, xr.DataTree | None]:
    """Sample a problem with one engine, in a process of its own.

    Parameters
    ----------
    config : SamplerConfig
        Used as it is: its seed is the engine's seed (see `Contender.config`).

    Returns
    -------
    outcome : Outcome
        How the process ended.
    tree : DataTree or None
        The draws with names; None if it did not end well.
    """
    job = Job(problem, contender, config)
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        outcome = run(job, Path(folder), log, timeout=timeout, listener=listener)
        if outcome.arrays is None:
            return outcome, None
        draws = _read(outcome.arrays)
    return outcome, to_datatree(problem, draws, _attrs(problem, contender, config, outcome))


def _read(path: Path) -> Draws:
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        by_kind: dict[str, dict[str, Any]] = {"values": {}, "stats": {}}
        for name in arrays.files:
            kind, _, variable = name.partition("/")
            by_kind[kind][variable] = arrays[name]
    return Draws(by_kind["values"], by_kind["stats"], Timings(), {})


def _attrs(
    problem: Problem, contender: Contender, config: SamplerConfig, outcome: Outcome
) -> dict[str, object]:
    """Everything that is needed to know what was run, beside the draws themselves."""
    return {
        "nestor_version": version("nestor"),
        "formula": problem.spec.to_formula(),
        "spec": problem.resolved_spec.model_dump(mode="json", exclude_none=True),
        "automatic_priors": sorted(problem.priors.automatic),
        "engine": contender.engine,
        "contender": contender.name,
        "config": asdict(config),
        "settings": outcome.result.get("settings", {}),
        "timings": outcome.result.get("timings", {}),
        "versions": outcome.result.get("versions", {}),
        "peak_bytes": outcome.peak_bytes or 0,
        "fingerprint": problem.fingerprint,
    }


def read_attr(tree: xr.DataTree, name: str) -> Any:
    """Read back an attribute that `to_datatree` may have stored as JSON text."""
    return json.loads(tree.attrs[name])
