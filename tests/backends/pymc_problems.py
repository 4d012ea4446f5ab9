"""Gaussian problems for the PyMC backend's tests, and what these have in common."""

from functools import cache

import numpy as np
from gaussian_trees import random_table
from hypothesis import HealthCheck, settings

from nestor import ModelSpec, Problem
from nestor.engines.formulation import Formulation
from nestor_pymc import PyMCBackend
from nestor_reference import ReferenceBackend

QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def compiled(problem, words, sampler=None):
    formulation = Formulation.parse(words, problem.spec.level_names)
    return PyMCBackend().compile(
        problem, formulation, sampler=sampler, device="cpu", dtype="float64"
    )


def reference_model(problem):
    formulation = Formulation.parse((), problem.spec.level_names)
    return ReferenceBackend().compile(
        problem, formulation, sampler=None, device="cpu", dtype="float64"
    )


def log_prior(problem, scales):
    total = 0.0
    for level, priors in problem.priors.tau.items():
        for j, prior in enumerate(priors.values()):
            total += float(np.sum(prior.scipy().logpdf(scales[f"tau_{level}"][..., j])))
    sigma = problem.priors.family["sigma"]
    return total if sigma.is_fixed else total + float(sigma.scipy().logpdf(scales["sigma"]))


def coefficients(problem):
    return [v for v in problem.variables.values() if v.role in ("population", "node")]


def flat(problem, values, lead):
    """Coefficients, one after another: (*lead, n)."""
    parts = [values[v.name].reshape(*lead, -1) for v in coefficients(problem)]
    return np.concatenate(parts, axis=-1)


def wide_problem(scale="level"):
    """Four effects, of which some vary on some levels only, x3 without a population mean, two covariates."""
    formula = (
        "y ~ x1 + x2 + z + o + (1 + x1 + x2 + x3 || level0) + (0 + x1 + x3 || level0:level1) "
        "+ (1 + x2 + x3 || level0:level1:level2)"
    )
    rng = np.random.default_rng(12)
    table = random_table(3, rng)
    table = table.assign(x3=rng.normal(size=len(table)))
    spec = ModelSpec.from_formula(formula, weights="w", scale=scale)
    return Problem(spec, table)


def unflat(problem, flat):
    found, begin = {}, 0
    for v in coefficients(problem):
        size = int(np.prod(v.shape))
        found[v.name] = flat[begin : begin + size].reshape(v.shape)
        begin += size
    return found


@cache
def two_levels(more=""):
    """Two levels, a slope that varies on the first, scales per parent on the second."""
    spec = ModelSpec.from_formula(
        f"y ~ x1 {more} + (1 + x1 || level0) + (1 || level0:level1)",
        weights="w",
        offset="o",
        scale={"level1": "parent"},
    )
    return Problem(spec, random_table(2, np.random.default_rng(6)))
