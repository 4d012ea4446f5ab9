"""The environment variables by which numerical libraries size their thread pools."""

from __future__ import annotations

from nestor.errors.arguments import whole

_VARIABLES = (
    "MKL_NUM_THREADS",
    "NPROC",  # what XLA reads
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def thread_environment(n: int) -> dict[str, str]:
    """Return variables that give every library a pool of `n` threads.

    Raises
    ------
    SpecError
        If `n` is less than one.
    """
    return dict.fromkeys(_VARIABLES, str(whole("threads of a library", n, least=1)))
