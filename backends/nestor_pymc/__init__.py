"""The PyMC backend: one model, drawn from by nutpie or by PyMC's own NUTS."""

from nestor_pymc.backend import PyMCBackend

__all__ = ["PyMCBackend"]
