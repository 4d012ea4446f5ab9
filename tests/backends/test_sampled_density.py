"""What the samplers really sampled: their own log densities, less the log Jacobian, are the reference's."""

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem
from nestor.backend import SamplerConfig
from nestor.engines import registry
from nestor.engines.formulation import Formulation

for library in ("numpyro", "nutpie", "pymc"):
    pytest.importorskip(library)


def _table(rows=80, seed=4):
    rng = np.random.default_rng(seed)
    columns = {
        name: rng.choice(list(labels), rows)
        for name, labels in zip("ghk", ("abc", "xyz", "pq"), strict=True)
    }
    columns |= {name: rng.normal(size=rows) for name in "xzevy"}
    return pd.DataFrame(columns | {"w": rng.uniform(0.5, 2.0, rows)})


# Together: every prior family, two outcome families, scales per level and per parent, centred,
# non-centred and both; inherited effects, effects without a population mean, covariates, offset, weights,
# known parameters.
CASES = {
    "every prior, mixed": (
        ModelSpec.from_formula(
            "y ~ x + v + (x + z || g) + (1 + x + z || g:h) + (1 + x || g:h:k)",
            scale={"h": "parent"},
            weights="w",
            offset="e",
            priors={
                "beta[x]": "Uniform(-30, 20)",
                "beta": "Cauchy(0.5, 2)",
                "gamma": "StudentT(3, 1, 2)",
                "tau_g": "Uniform(0, 20)",
                "tau_g[x]": "HalfCauchy(1)",
                "tau_g[z]": "Exponential(0.7)",
                "tau_h": "HalfStudentT(3, 1)",
                "tau_h[x]": "Gamma(2, 1.5)",
                "tau_h[z]": "Uniform(0.01, 9)",
                "tau_k": "InverseGamma(3, 2)",
                "tau_k[x]": "HalfNormal(2)",
                "sigma": "LogNormal(0.2, 0.9)",
            },
        ),
        ("noncentered", "k=centered"),
    ),
    "student_t, centered": (
        ModelSpec.from_formula(
            "y ~ x + (1 + x || g) + (1 || g:h)",
            family="student_t",
            weights="w",
            scale={"h": "parent"},
            priors={"nu": "Uniform(1, 40)"},
        ),
        ("centered",),
    ),
}


def _compile(engine, problem, words, dtype="float64"):
    name, _, sampler = engine.partition(":")
    return registry.get(name).backend.compile(
        problem,
        Formulation.parse(words, problem.spec.level_names),
        sampler=sampler or None,
        device="cpu",
        dtype=dtype,
    )


def relative_differences(problem, draws):
    """Of (lp - log_jacobian) from the reference's log density, in units of max(1, |lp|), at each draw."""
    reference = _compile("reference", problem, ())
    lp, log_jacobian = draws.stats["lp"], draws.stats["log_jacobian"]
    assert log_jacobian.shape == lp.shape
    assert log_jacobian.dtype == np.float64
    found = np.empty(lp.shape)
    for at in np.ndindex(*lp.shape):
        expected = reference.log_density({n: v[at] for n, v in draws.values.items()})
        found[at] = (lp[at] - log_jacobian[at] - expected) / max(1.0, abs(expected))
    return found


# The check holds wherever the chains are: they need not have found the posterior yet.
CONFIG = SamplerConfig(
    chains=2, warmup=60, draws=20, seed=2, max_tree_depth=5, chain_method="sequential"
)


@pytest.mark.parametrize(
    ("engine", "case"),
    [
        ("numpyro:nuts", "every prior, mixed"),
        ("numpyro:nuts", "student_t, centered"),
        # PyMC's samplers walk on one graph, which takes half a minute to compile: each of them has one case.
        ("pymc:nutpie", "every prior, mixed"),
        ("pymc:pymc", "student_t, centered"),
    ],
)
def test_lp_less_the_log_jacobian_is_the_references_density(engine, case):
    spec, words = CASES[case]
    problem = Problem(spec, _table())
    draws = _compile(engine, problem, words).sample(CONFIG)
    found = relative_differences(problem, draws)
    assert np.abs(found).max() < 1e-8
    # The same check without the Jacobian would fail at every draw.
    assert np.abs(draws.stats["log_jacobian"]).min() > 1e-3


def test_vectorized_chains_have_it_too():
    spec, words = CASES["student_t, centered"]
    problem = Problem(spec, _table())
    config = SamplerConfig(chains=3, warmup=50, draws=10, seed=2, chain_method="vectorized")
    found = relative_differences(problem, _compile("numpyro:nuts", problem, words).sample(config))
    assert found.shape == (3, 10)
    assert np.abs(found).max() < 1e-8


def test_in_single_precision_it_is_as_close_as_rounding_allows():
    spec, words = CASES["every prior, mixed"]
    problem = Problem(spec, _table())
    draws = _compile("numpyro:nuts", problem, words, "float32").sample(CONFIG)
    found = np.abs(relative_differences(problem, draws))
    # Some 130 terms of unit size, each rounded at 2^-24 = 6e-8, in a sum of some 230.
    assert found.max() < 5e-6
    assert found.max() > 1e-9
