"""The three tasks of an engine: evaluate log densities, compile, sample."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestor.runner import arrays
from nestor.runner.datatree import to_datatree
from nestor.runner.job import Job, Outcome
from nestor.runner.limits import Limits
from nestor.runner.process import JobProcess, Listener, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import Draws, SamplerConfig

_NO_LIMITS = Limits()


def evaluate(
    problem: Problem,
    contender: Contender,
    points: Sequence[dict[str, NDArray[np.float64]]],
    log: Path,
    *,
    timeout: float | None = None,
    listener: Listener | None = None,
    limits: Limits = _NO_LIMITS,
) -> tuple[Outcome, list[float] | None]:
    """Evaluate an engine's log density at points, in a process of its own.

    Returns
    -------
    outcome : Outcome
        How the process ended.
    log_densities : list of float or None
        One per point; None if it did not end well.
    """
    contender = contender.resolve_formulation(problem)
    job = Job(problem, contender, points=tuple(points))
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        outcome = run(job, Path(folder), log, timeout=timeout, listener=listener, limits=limits)
    texts = outcome.result.get("log_densities")
    return outcome, [float(text) for text in texts] if isinstance(texts, list) else None


def prepare(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    log: Path,
    *,
    timeout: float | None = None,
    listener: Listener | None = None,
    limits: Limits = _NO_LIMITS,
) -> Outcome:
    """Compile all that sampling needs, in a process of its own, and draw nothing.

    Returns
    -------
    Outcome
        ``result["timings"]`` has import_s, upload_s, compile_s and total_s; all other phases are None.
    """
    contender = contender.resolve_formulation(problem)
    job = Job(problem, contender, config, prepare_only=True)
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        return run(job, Path(folder), log, timeout=timeout, listener=listener, limits=limits)


def sample(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    log: Path,
    *,
    timeout: float | None = None,
    listener: Listener | None = None,
    limits: Limits = _NO_LIMITS,
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
    contender = contender.resolve_formulation(problem)
    job = Job(problem, contender, config)
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        outcome = run(job, Path(folder), log, timeout=timeout, listener=listener, limits=limits)
        if outcome.arrays is None:
            return outcome, None
        draws = arrays.read(outcome.arrays)
    return outcome, to_datatree(problem, draws, _attrs(problem, contender, config, outcome))


def sample_until(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    looks: Sequence[int],
    log: Path,
    *,
    timeout: float | None = None,
    listener: Listener | None = None,
    limits: Limits = _NO_LIMITS,
) -> Iterator[tuple[Outcome, xr.DataTree | None]]:
    """Sample as `sample` does, but rest at each look; closing the iterator ends the process.

    Parameters
    ----------
    looks : sequence of int
        Increasing numbers of kept draws per chain, the first being the config's.
    timeout : float, optional
        Seconds until the first look, and from each look to the next.

    Yields
    ------
    outcome : Outcome
        How the process stands. ``cannot_extend`` in its result says why there will be no further look.
    tree : DataTree or None
        All draws so far, timings added up; None if it did not end well.
    """
    contender = contender.resolve_formulation(problem)
    job = Job(problem, contender, config, looks=tuple(looks))
    parts: list[Draws] = []
    results: list[dict[str, object]] = []
    with (
        tempfile.TemporaryDirectory(prefix="nestor-") as folder,
        JobProcess(
            job, Path(folder), log, timeout=timeout, listener=listener, limits=limits
        ) as process,
    ):
        for look in looks:
            outcome = process.advance()
            if outcome.arrays is None:
                yield outcome, None
                return
            parts.append(arrays.read(outcome.arrays))
            results.append(outcome.result)
            total = replace(outcome, result={**outcome.result, "timings": _added(results)})
            so_far = replace(config, draws=look)
            attrs = _attrs(problem, contender, so_far, total)
            yield total, to_datatree(problem, arrays.joined(parts, Path(folder)), attrs)
            if not process.resting:
                return


def _added(results: Sequence[dict[str, Any]]) -> dict[str, object]:
    """Add up the seconds of stretches, chain by chain where they are told apart.

    A phase that some stretch could not tell apart (None) is unknown in the sum, but for upload,
    compilation and warmup, which belong to the first.
    """
    first, *others = (result["timings"] for result in results)
    total = dict(first)
    for timings in others:
        for name, value in timings.items():
            if isinstance(value, list):
                pairs = zip(total[name], value, strict=False)
                total[name] = [a + b for a, b in pairs] if value else total[name]
            elif name not in ("import_s", "upload_s", "compile_s", "warmup_s"):
                known = total[name] is not None and value is not None
                total[name] = total[name] + value if known else None
    return total


def _attrs(
    problem: Problem, contender: Contender, config: SamplerConfig, outcome: Outcome
) -> dict[str, object]:
    """Return the attributes of the draws: model, engine, settings, timings and versions."""
    on_device = outcome.result.get("device_peak_bytes")
    return {
        "nestor_version": version("nestor"),
        "formula": problem.spec.to_formula(),
        "spec": problem.resolved_spec.model_dump(mode="json", exclude_none=True),
        "automatic_priors": sorted(problem.priors.automatic),
        "engine": contender.engine,
        "contender": contender.name,
        "formulation": str(contender.formulation),
        "formulation_reason": contender.reason,
        "config": asdict(config),
        "settings": outcome.result.get("settings", {}),
        "timings": outcome.result.get("timings", {}),
        "versions": outcome.result.get("versions", {}),
        "peak_bytes": outcome.peak_bytes or 0,
        "fingerprint": problem.fingerprint,
        # netCDF knows no None: what is not known is absent
        **({} if on_device is None else {"device_peak_bytes": on_device}),
    }


def read_attr(tree: xr.DataTree, name: str) -> Any:
    """Read back an attribute that `to_datatree` may have stored as JSON text."""
    return json.loads(tree.attrs[name])
