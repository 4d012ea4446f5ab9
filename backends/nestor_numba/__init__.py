"""nestor's own backend: fused kernels that Numba compiles, sampled by nutpie."""

from nestor_numba.backend import NumbaBackend

__all__ = ["NumbaBackend"]
