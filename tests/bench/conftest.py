"""Synthetic tables of benchmark results."""

import numpy as np
import pandas as pd
import pytest

from nestor.bench.table import COLUMNS

CPU, GPU = "numpyro:nuts@noncentered", "numpyro:nuts@noncentered,gpu,vectorized"
PLACE = {"cpu": "Model A", "gpu": "", "machine_cores": 4, "machine_bytes": 16_000_000_000}


def _row(contender, track, sweep, size, seed, rng, noise):
    """A run whose costs are those of a simple program: fixed to compile, linear in size to sample."""
    engine, _, words = contender.partition("@")
    device = "gpu" if "gpu" in words else "cpu"
    scale = (size or 1_000) / 1_000

    def noisy(value):
        return float(value * np.exp(noise * rng.normal()))

    compile_s, sampling_s, warmup_s = noisy(10.0), noisy(4.0 * scale), noisy(4.0 * scale)
    # A GPU takes long to start anything and little for each row.
    if device == "gpu":
        sampling_s, warmup_s = noisy(20 + 0.4 * scale), noisy(20 + 0.4 * scale)
    ess, gradients = noisy(800), round(30_000 * np.exp(0.2 * noise * rng.normal()))
    warm_compile_s = noisy(1.0)
    per_draw = sampling_s * 400 / ess
    return {
        "id": f"{contender}{track}{size}{seed}",
        "scenario": "chem",
        "quick": False,
        "track": track,
        "contender": contender,
        "engine": engine,
        "formulation": words.split(",")[0],
        "device": device,
        "dtype": "float64",
        "chain_method": "vectorized" if "vectorized" in words else "parallel",
        "seed": seed,
        "chains": int(size) if sweep == "chains" else 4,
        "warmup": 1000,
        "draws": 1000,
        "cores": int(size) if sweep == "cores" else 2,
        "sweep": sweep,
        "sweep_value": size,
        "rows": int(size) if sweep == "rows" else 1_000,
        "status": "ok",
        "message": "",
        "verdict": "AGREE",
        "against": "yardstick",
        "reason": "all equal",
        "import_s": noisy(2.0),
        "upload_s": 0.1,
        "compile_s": compile_s,
        "warm_compile_s": warm_compile_s,
        "warmup_s": warmup_s,
        "sampling_s": sampling_s,
        "postprocess_s": noisy(0.2),
        "transfer_s": 0.1,
        "total_s": compile_s + warmup_s + sampling_s,
        "ess_min": ess,
        "ess_kind": "bulk",
        "ess_quantity": "tau_lea[Intercept]",
        "gradients": gradients,
        "target_ess": 400.0,
        "time_to_ess_s": compile_s + warmup_s + per_draw,
        "time_to_ess_warm_s": warm_compile_s + warmup_s + per_draw,
        "time_is_bound": False,
        "censored": False,
        "ess_per_s_sampling": ess / sampling_s,
        "ess_per_s": ess / (warmup_s + sampling_s),
        "ess_per_gradient": ess / gradients,
        "gradients_per_s": gradients / sampling_s,
        "peak_bytes": round(noisy(8e8 + 1e4 * scale)),
        "device_peak_bytes": 2_000_000_000 if device == "gpu" else None,
        **PLACE,
    }


def ended(row, status, message="", at=60.0):
    """The same run without a result."""
    kept = ("import_s", "upload_s", "compile_s", "warm_compile_s", "target_ess", "peak_bytes")
    lost = {
        name: None
        for name, (kind, _) in COLUMNS.items()
        if kind == "Float64" and name != "sweep_value" and name not in kept
    }
    empty = {"verdict": "", "against": "", "reason": "", "ess_kind": "", "ess_quantity": ""}
    skipped = status == "skipped"
    why = {"status": status, "message": message, "censored": not skipped, "gradients": None}
    if skipped:
        lost |= dict.fromkeys(kept)
    return {**row, **lost, **empty, **why, "censored_at_s": None if skipped else at}


@pytest.fixture
def end_run():
    """Make of a run one that did not end well: ``end_run(row, status, message, at)``."""
    return ended


@pytest.fixture
def bench_table():
    """Return a factory of tables; `change` is given each row and returns what becomes of it, or None."""

    def make(
        contenders=("pymc:nutpie@noncentered",),
        *,
        sweep="",
        sizes=(None,),
        seeds=(1, 2, 3, 4, 5),
        tracks=("defaults",),
        noise=0.05,
        stream=0,
        change=lambda row: row,
    ):
        rng = np.random.default_rng([20261126, stream])
        rows = [
            change(_row(contender, track, sweep, size, seed, rng, noise))
            for seed in seeds
            for size in sizes
            for track in tracks
            for contender in contenders
        ]
        data = {name: [row.get(name) for row in rows if row] for name in COLUMNS}
        return pd.DataFrame({n: pd.Series(data[n], dtype=kind) for n, (kind, _) in COLUMNS.items()})

    return make
