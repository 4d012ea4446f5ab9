"""Exact, distribution-free tests of ECDFs with simultaneous bands.

After Säilynoja, Bürkner and Vehtari (2022), "Graphical test for discrete uniformity and its
applications in goodness-of-fit evaluation and multiple sample comparison", Statistics and Computing
32:32; with p-values by recursion instead of simulation, so that families of thousands of quantities
can be corrected.
"""

from nestor.stats.ecdf.null_distribution import Band
from nestor.stats.ecdf.two_sample import (
    TwoSampleTest,
    ecdf_difference,
    two_sample_band,
    two_sample_test,
)
from nestor.stats.ecdf.uniform import UniformTest, uniform_band, uniform_test

__all__ = [
    "Band",
    "TwoSampleTest",
    "UniformTest",
    "ecdf_difference",
    "two_sample_band",
    "two_sample_test",
    "uniform_band",
    "uniform_test",
]
