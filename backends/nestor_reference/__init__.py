"""The reference backend: densities and, for gaussian outcomes, exact posteriors by NumPy and SciPy.

Slow and obvious on purpose. It shares no model code with any sampler's backend.
"""

from nestor_reference.backend import LARGEST_DIMENSION, ReferenceBackend
from nestor_reference.dense import DenseConditional, conditional_dense, log_marginal_dense
from nestor_reference.marginal import conditional_draws, conditional_mean, log_marginal
from nestor_reference.model import ReferenceModel

__all__ = [
    "LARGEST_DIMENSION",
    "DenseConditional",
    "ReferenceBackend",
    "ReferenceModel",
    "conditional_dense",
    "conditional_draws",
    "conditional_mean",
    "log_marginal",
    "log_marginal_dense",
]
