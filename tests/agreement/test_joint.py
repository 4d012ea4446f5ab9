import sys

import numpy as np
import pytest
from pairs import at_least, at_most
from scipy.signal import lfilter

from nestor.agreement.difference import difference_test
from nestor.agreement.joint import joint_test
from nestor.agreement.joint_features import MAX_PARAMETERS, N_NODE_COMPONENTS, features
from nestor.errors import DataError, Unsupported
from nestor.stats.diagnostics import rhat_rank, summaries

pytest.importorskip("sklearn")

LABELS = ["beta[x]", "tau_county[x]", "sigma"]
NO_NODE = np.zeros(3, bool)


def chains(rng, n_chain=8, n_draw=150, n_scalar=3, phi=0.5):
    noise = rng.normal(size=(n_chain, n_draw + 50, n_scalar))
    return np.sqrt(1 - phi**2) * lfilter([1.0], [1.0, -phi], noise, axis=1)[:, 50:]


def correlated(draws, rho):
    changed = draws.copy()
    changed[..., 1] = rho * draws[..., 0] + np.sqrt(1 - rho**2) * draws[..., 1]
    return changed


def test_equal_runs_are_told_apart_as_often_as_the_level_says():
    phi = 0.9
    rng = np.random.default_rng(1)
    n_pair = 100
    p_values = np.array(
        [
            joint_test(
                chains(rng, n_draw=40, phi=phi),
                chains(rng, n_draw=40, phi=phi),
                LABELS,
                NO_NODE,
                level=0.1,
                seed=i,
            ).p_value
            for i in range(n_pair)
        ]
    )
    for level in (0.05, 0.1, 0.3):
        assert np.count_nonzero(p_values <= level) <= at_most(n_pair, level)
    assert np.count_nonzero(p_values <= 0.3) >= at_least(n_pair, 0.25)  # ties give some away


def test_a_correlation_that_no_marginal_shows_is_found():
    rng = np.random.default_rng(2)
    a, b = correlated(chains(rng), 0.8), correlated(chains(rng), -0.8)
    assert difference_test(summaries(a), summaries(b), LABELS).rejected == ()
    result = joint_test(a, b, LABELS, NO_NODE)
    assert result.rejected
    assert result.p_value == result.smallest_p == 1 / 1000
    # sign(x y) tells these apart in 1/2 + arcsin(0.8)/pi = 79.5% of draws
    assert 0.7 < result.accuracy < 0.85
    assert 0.45 < result.chance < 0.51
    strongest = [one.feature for one in result.weights]
    assert "beta[x] times tau_county[x]" in strongest
    plain = result.to_dict()
    assert plain["weights"][0].keys() == {"feature", "weight"}
    assert plain["n_chains"] == [8, 8]


def test_equal_runs_have_no_rejection_and_the_seed_decides():
    rng = np.random.default_rng(3)
    a, b = chains(rng), chains(rng, n_chain=9, n_draw=100)
    result = joint_test(a, b, LABELS, NO_NODE)
    assert not result.rejected
    assert (result.n_chains, result.n_draws, result.n_permutations) == ((8, 9), 100, 999)
    assert joint_test(a, b, LABELS, NO_NODE).to_dict() == result.to_dict()


def test_thousands_of_nodes_are_reduced_and_still_seen():
    rng = np.random.default_rng(4)
    n = 600
    labels = ["sigma"] + [f"beta_county[state, {i}, x]" for i in range(n)]
    is_node = np.arange(n + 1) > 0
    a, b = chains(rng, n_scalar=n + 1), chains(rng, n_scalar=n + 1)
    assert not joint_test(a, b, labels, is_node).rejected
    a[..., 1:] += 0.5 * chains(rng, n_scalar=1)  # nodes of a move together
    result = joint_test(a, b, labels, is_node)
    assert result.rejected
    assert result.n_features < 100


def test_features_are_standardized_and_named():
    rng = np.random.default_rng(5)
    draws = np.exp(rng.normal(size=(400, 30)))
    labels = [f"beta[{i}]" for i in range(20)] + [f"beta_county[{i}, x]" for i in range(10)]
    found = features(draws, labels, np.arange(30) >= 20)
    n_column = MAX_PARAMETERS + N_NODE_COMPONENTS
    assert found.values.shape[1] == len(found.names) == n_column * (n_column + 3) // 2 + 50 + 2
    np.testing.assert_allclose(found.values.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(found.values.std(axis=0), 1, rtol=1e-10)
    assert {"component 1 of the parameters squared", "mean square of beta_county[x]"} <= set(
        found.names
    )


def test_constant_scalars_carry_nothing_and_do_not_stop_the_test():
    rng = np.random.default_rng(6)
    a, b = chains(rng, n_draw=50), chains(rng, n_draw=50)
    a[..., 2] = b[..., 2] = 1.0
    with_constant = joint_test(a, b, LABELS, NO_NODE, level=0.05)
    without = joint_test(a[..., :2], b[..., :2], LABELS[:2], NO_NODE[:2], level=0.05)
    assert with_constant.to_dict() == without.to_dict()
    with pytest.raises(DataError, match="every scalar are all the same"):
        joint_test(np.ones_like(a), np.ones_like(a), LABELS, NO_NODE)


def test_the_rhat_of_both_runs_is_that_of_all_their_chains():
    rng = np.random.default_rng(8)
    a, b = chains(rng, n_draw=60), chains(rng, n_draw=50)
    b[..., 1] += 0.8
    found = joint_test(a, b, LABELS, NO_NODE, level=0.05)
    together = rhat_rank(np.concatenate([a[:, :50], b]))
    assert found.rhat == together.max() == together[1] > 1.05


def test_what_cannot_be_tested_is_refused_with_the_reason(monkeypatch):
    rng = np.random.default_rng(7)
    a = chains(rng, n_draw=20)
    with pytest.raises(
        DataError, match="at least 8 of each run, found 4 and 8: 4 against 4 allow only 70"
    ):
        joint_test(a[:4], a, LABELS, NO_NODE)
    with pytest.raises(DataError, match="3 scalars against 2"):
        joint_test(a, a[..., :2], LABELS, NO_NODE)
    bad = a.copy()
    bad[0, 0, 1] = np.inf
    with pytest.raises(DataError, match=r"tau_county\[x\] are not finite"):
        joint_test(a, bad, LABELS, NO_NODE)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(Unsupported, match=r"pip install 'nestor\[joint\]'"):
        joint_test(a, a, LABELS, NO_NODE)
