"""What every record of this backend says of a run, whoever samples."""

from __future__ import annotations


def common_settings() -> dict[str, object]:
    """Both samplers start alike and compile with numba."""
    import pytensor

    return {
        "initial_points": "support point of the prior, jittered by Uniform(-1, 1), unconstrained",
        "persistent_compile_cache": bool(pytensor.config.numba__cache),
    }
