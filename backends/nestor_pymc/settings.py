"""What a sampler really used, in the words that every record shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nestor.backend import SamplerConfig


def resolved_settings(
    config: SamplerConfig,
    *,
    sampler: str,
    cores: int,
    target_accept: float,
    max_tree_depth: int,
    metric_estimate: str,
) -> dict[str, object]:
    """Return the settings of a run; both samplers start alike and compile with numba.

    Parameters
    ----------
    config : SamplerConfig
        What was asked for.
    sampler : {"nutpie", "pymc"}
        Who ran it.
    cores : int
        Chains that ran at once.
    target_accept : float
        Target acceptance statistic.
    max_tree_depth : int
        Doublings of a trajectory at most.
    metric_estimate : str
        What the diagonal metric was estimated from.
    """
    import pytensor

    return {
        "sampler": sampler,
        "target_accept": float(target_accept),
        "max_tree_depth": int(max_tree_depth),
        "metric": "diag",
        "metric_estimate": metric_estimate,
        "initial_points": "support point of the prior, jittered by Uniform(-1, 1), unconstrained",
        "chain_method": config.chain_method,
        "cores": cores,
        "persistent_compile_cache": bool(pytensor.config.numba__cache),
    }
