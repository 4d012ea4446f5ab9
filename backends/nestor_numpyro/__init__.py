"""The NumPyro backend: one vectorized model, sampled by NumPyro's NUTS on a CPU or a GPU."""

from nestor_numpyro.backend import NumPyroBackend

__all__ = ["NumPyroBackend"]
