"""The flat table of a benchmark: one row per cell, the same columns whatever was run.

Every figure that nestor prints or draws about a benchmark is computed from this table alone.
"""

from __future__ import annotations

from typing import Final

#: Column to pandas' type and what it holds. Seconds end in ``_s``, memory in ``_bytes``.
COLUMNS: Final[dict[str, tuple[str, str]]] = {
    # which cell
    "id": ("str", "Hash of all that the cell was asked to do"),
    "scenario": ("str", "Name of the scenario"),
    "quick": ("boolean", "Whether this is the scenario's quick form"),
    "track": ("str", "defaults (what a user gets who reads nothing) or matched"),
    "contender": ("str", "Engine with every choice resolved"),
    "engine": ("str", "backend:sampler"),
    "formulation": ("str", "How the posterior is computed"),
    "device": ("str", "cpu or gpu"),
    "dtype": ("str", "float64 or float32"),
    "chain_method": ("str", "sequential, parallel or vectorized"),
    "seed": ("Int64", "Seed of the repetition; the engine's own is derived from it"),
    "chains": ("Int64", "Number of chains"),
    "warmup": ("Int64", "Iterations per chain that adapt"),
    "draws": ("Int64", "Iterations per chain that are kept"),
    "cores": ("Int64", "Cores that the cell may use"),
    # which problem
    "sweep": ("str", "What the scenario sweeps, such as rows; empty if nothing"),
    "sweep_value": ("Float64", "Its value in this cell"),
    "rows": ("Int64", "Rows of the data"),
    "leaves": ("Int64", "Nodes of the last level"),
    "nodes": ("Int64", "Nodes of all levels"),
    "depth": ("Int64", "Number of levels"),
    "effects": ("Int64", "Number of effects"),
    "scalars": ("Int64", "Random scalars of the posterior"),
    # how it ended
    "status": (
        "str",
        "ok, gates_failed, density_failed, failed, timeout, out_of_memory, or skipped",
    ),
    "message": ("str", "Why, where the status is not ok, or there is no speed"),
    "verdict": ("str", "AGREE, DISAGREE, INCONCLUSIVE, or empty where it was not judged"),
    "against": ("str", "Contender that it was judged against"),
    "margin_needed": ("Float64", "Smallest margin at which it would agree, posterior sd"),
    "reason": ("str", "Why the verdict is what it is"),
    # seconds of each phase, missing where one cannot be told from another
    "import_s": (
        "Float64",
        "Importing the engine's libraries; part of no figure below but total_s",
    ),
    "upload_s": ("Float64", "Data to the device"),
    "compile_s": ("Float64", "Building and compiling, with empty caches"),
    "warm_compile_s": ("Float64", "The same in a new process, with the caches that the first left"),
    "warmup_s": ("Float64", "Adaptation"),
    "sampling_s": ("Float64", "Kept draws"),
    "warmup_and_sampling_s": (
        "Float64",
        "Adaptation and kept draws; known of some samplers that cannot tell them apart",
    ),
    "postprocess_s": ("Float64", "Conversion to canonical variables"),
    "transfer_s": ("Float64", "Draws to the host"),
    "total_s": (
        "Float64",
        "From the first import of the engine's libraries to the last draw on the host, with empty caches",
    ),
    "unaccounted_s": (
        "Float64",
        "Of total_s, in no phase; negative where the phases are longer than it",
    ),
    "elapsed_s": ("Float64", "Wall time of the process, as its parent saw it"),
    # effective draws
    "ess_min": ("Float64", "Smallest bulk or tail ESS of all shared quantities"),
    "ess_kind": ("str", "bulk or tail: which of them that is"),
    "ess_quantity": ("str", "Whose it is"),
    "ess_bulk_min": ("Float64", "Smallest bulk ESS"),
    "ess_tail_min": ("Float64", "Smallest tail ESS"),
    "rhat_max": ("Float64", "Largest rank-normalized split R-hat"),
    "divergences": ("Int64", "Divergent draws"),
    "treedepth_hits": ("Int64", "Draws at the largest tree depth"),
    "gradients": ("Int64", "Gradient evaluations of the kept draws, all chains"),
    # what it costs
    "target_ess": ("Float64", "Effective draws that the next columns ask for"),
    "time_to_ess_s": (
        "Float64",
        "Seconds to the target, all in: compiling and warmup included, import not; missing if censored",
    ),
    "time_to_ess_warm_s": ("Float64", "The same with the caches of an earlier run"),
    "time_is_bound": (
        "boolean",
        "Whether these are upper bounds, warmup and sampling not having been told apart",
    ),
    "censored": ("boolean", "Whether the target was not reached: it takes longer, or never comes"),
    "censored_at_s": (
        "Float64",
        "Seconds without the target, all in, where it is censored",
    ),
    "ess_per_s_sampling": ("Float64", "ess_min per second of sampling"),
    "ess_per_s": ("Float64", "ess_min per second of warmup and sampling"),
    "ess_per_gradient": ("Float64", "ess_min per gradient evaluation of the kept draws"),
    "gradients_per_s": ("Float64", "Gradient evaluations per second of sampling, all chains"),
    "peak_bytes": ("Int64", "Largest memory of the process tree (PSS), host"),
    "device_peak_bytes": ("Int64", "Largest memory in use on the GPU; missing on a CPU"),
    # where and when
    "place": ("str", "Hash of the environment: machine, libraries, commit"),
    "cpu": ("str", "CPU model"),
    "gpu": ("str", "GPU model; empty without one"),
    "machine_cores": ("Int64", "Cores usable on the machine"),
    "machine_bytes": ("Int64", "Memory of the machine"),
    "load": ("Float64", "Load average of the machine before the cell"),
    "versions": ("str", "Libraries and their versions, JSON"),
    "commit": ("str", "Git commit of nestor, with -dirty if files were changed; empty if unknown"),
    "started": ("str", "When, ISO 8601, UTC"),
}

#: A censored run counts in medians, as slower than every run that is not.
CENSORED_STATUSES: Final = ("gates_failed", "density_failed", "failed", "timeout", "out_of_memory")
#: Nothing was run: the engine lacks a device, a precision or a chain method.
SKIPPED: Final = "skipped"
#: What makes one line of a printed table: all cells that differ in their seed only.
GROUP: Final = ("track", "sweep_value", "contender", "chains", "cores")
