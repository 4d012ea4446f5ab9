"""Coefficients recovered after sampling: exact draws pass, and each way to be wrong is named."""

import numpy as np
import pytest
from scipy import stats

from nestor.agreement.recovery import check_recovery
from nestor.agreement.sampled_density import check_sampled_density
from nestor.references import problem

N = 250


@pytest.fixture(scope="module")
def tree():
    return problem("two-levels")


def values_of(tree):
    return {n: np.ones((4, N, *v.shape)) for n, v in tree.variables.items()}


def check(tree, spoil=lambda noise: noise, seed=1, level=1e-6):
    """The check of draws whose noise is independent standard normal numbers, then spoilt."""
    rng = np.random.default_rng(seed)

    def whitened(values):
        return spoil(
            {
                n: rng.standard_normal(v.shape)
                for n, v in values.items()
                if tree.variables[n].role in ("population", "node")
            }
        )

    return check_recovery(tree, "x", values_of(tree), whitened, level)


def test_false_alarms_are_as_rare_as_they_say(tree):
    """Bonferroni's bound: at most Binomial(200, 0.1)."""
    alarms = sum(not check(tree, seed=seed, level=0.1).exact for seed in range(200))
    assert alarms <= stats.binom.isf(1e-5, 200, 0.1)
    # The tests are nearly independent, so that the bound is nearly reached.
    assert alarms >= stats.binom.ppf(1e-5, 200, 0.07)


def test_every_mean_variance_and_pair_is_a_test(tree):
    n = sum(v.random.sum() for v in tree.variables.values() if v.role in ("population", "node"))
    found = check(tree)
    assert found.exact
    assert found.message == ""
    assert found.n_draws == 1000
    assert found.n_tests == 2 * n + n * (n - 1) // 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda a: a + 0.4 * np.eye(1, a.shape[-2] * a.shape[-1], 5).reshape(a.shape[-2:]),
            "h02, x] has mean 0.",
        ),
        (lambda a: 1.3 * a, "has variance 1."),
        (lambda a: 0.0 * a, "has variance 0.000"),
        (lambda a: np.repeat(a[..., :1, :], a.shape[-2], axis=-2), "have correlation 1.000, not 0"),
        (lambda a: np.where(np.arange(a.shape[-2])[:, None] == 3, np.nan, a), "is not finite"),
    ],
    ids=["mean", "variance", "no noise", "shared by siblings", "not a number"],
)
def test_each_fault_is_named(tree, spoil, message):
    found = check(tree, lambda noise: noise | {"beta_h": spoil(noise["beta_h"])})
    assert not found.exact
    assert message in found.message
    assert "beta_h[" in found.message


def test_the_correlation_that_it_would_find_it_finds_half_the_time(tree):
    at = check(tree).detectable

    def correlated(noise):
        a = noise["beta_h"].copy()
        a[..., 1, 0] = at * a[..., 0, 0] + np.sqrt(1 - at**2) * a[..., 1, 0]
        return noise | {"beta_h": a}

    found = sum(not check(tree, correlated, seed=seed).exact for seed in range(60))
    assert stats.binom.ppf(1e-4, 60, 0.45) <= found <= stats.binom.isf(1e-4, 60, 0.55)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_draws_whose_scales_are_none_are_left_to_the_gates(tree, value):
    """The reference has nothing to say of them; of the others it has."""
    values = {name: np.array(array) for name, array in values_of(tree).items()}
    seen = []

    def whitened(some):
        seen.append(some["sigma"])
        rng = np.random.default_rng(1)
        roles = ("population", "node")
        return {
            n: rng.standard_normal(v.shape)
            for n, v in some.items()
            if tree.variables[n].role in roles
        }

    values["sigma"][0, 3:9] = value
    assert check_recovery(tree, "x", values, whitened).exact
    assert np.isfinite(seen[0]).all()
    assert (seen[0] > 0).all()
    values["sigma"][...] = value
    assert check_recovery(tree, "x", values, whitened) is None
    reported = dict.fromkeys(("lp", "log_jacobian"), np.zeros(values["sigma"].shape))
    assert check_sampled_density(tree, "x", "float64", values, reported, lambda point: 0.0) is None
