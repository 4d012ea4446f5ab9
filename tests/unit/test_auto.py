"""What auto chooses: whether coefficients integrate out, how rows are summed, which levels are centred."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem
from nestor.backend import Capabilities, Missing
from nestor.data.centering import data_over_prior
from nestor.data.marginalization import not_marginalizable
from nestor.engines.auto import choose

ALL = Capabilities(
    families=frozenset({"gaussian", "student_t"}),
    centering=frozenset({"centered", "noncentered"}),
    devices=frozenset({"cpu"}),
    dtypes=frozenset({"float64"}),
    chain_methods=frozenset({"sequential"}),
    likelihoods=frozenset({"rows", "statistics"}),
    coefficients=frozenset({"sampled", "marginalized"}),
)
SAMPLED = replace(ALL, coefficients=frozenset({"sampled"}))
ROWS = replace(SAMPLED, likelihoods=frozenset({"rows"}))
MARGINAL = replace(ALL, coefficients=frozenset({"marginalized"}), centering=frozenset())


def balanced(groups, leaves, rows, *, tau_g, tau_h, formula="y ~ 1 + (1 || g/h)", t=None, **given):
    """A tree of `groups`, each with `leaves`, each with `rows` of unit standard deviation."""
    rng = np.random.default_rng(11)
    h = np.repeat(np.arange(groups * leaves), rows)
    g = h // leaves
    error = rng.standard_normal(len(h)) if t is None else rng.standard_t(t, len(h))
    x, z = rng.standard_normal((2, len(h)))
    y = tau_g * rng.standard_normal(groups)[g] + tau_h * rng.standard_normal(groups * leaves)[h]
    table = pd.DataFrame({"g": g, "h": h, "x": x, "z": z, "y": y + error + 3 * z})
    table["between"] = rng.standard_normal(groups * leaves)[h]
    return Problem(ModelSpec.from_formula(formula, **given), table)


WITH_Z = "y ~ z + (1 || g/h)"
RICH = {"groups": 40, "leaves": 10, "rows": 30, "tau_g": 1.0, "tau_h": 1.0}
POOR = {"groups": 40, "leaves": 10, "rows": 2, "tau_g": 0.05, "tau_h": 0.2}
MIXED = {"groups": 40, "leaves": 10, "rows": 4, "tau_g": 1.0, "tau_h": 0.05}


def words(problem, can=SAMPLED):
    return choose(problem, can).formulation.words


def test_coefficients_of_a_gaussian_outcome_integrate_out():
    found = choose(balanced(4, 2, 3, tau_g=1, tau_h=1), ALL)
    assert found.formulation.words == ("marginalized",)
    assert found.reason == (
        "gaussian outcome and Normal population priors: coefficients integrate out exactly"
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"family": "student_t"}, "gaussian outcomes only, and the outcome 'y' is student_t"),
        (
            {"priors": {"beta": "StudentT(3, 0, 1)"}},
            "the prior of beta[Intercept] is StudentT(3, 0, 1)",
        ),
        ({"priors": {"gamma": "Cauchy(0, 1)"}}, "the prior of gamma[z] is Cauchy(0, 1)"),
    ],
)
def test_where_they_do_not_they_are_sampled_and_the_reason_says_why(given, why):
    problem = balanced(4, 2, 3, tau_g=1, tau_h=1, formula="y ~ z + (1 || g/h)", **given)
    found = choose(problem, ALL)
    assert not found.formulation.is_marginalized
    assert not_marginalizable(problem).endswith(why)
    assert found.reason.startswith(f"{not_marginalizable(problem)}; centered where data say more")


def test_an_engine_that_only_marginalizes_is_left_to_refuse_the_rest():
    problem = balanced(4, 2, 3, tau_g=1, tau_h=1, family="student_t")
    found = choose(problem, MARGINAL)
    assert found.formulation.is_marginalized
    assert "the engine can do nothing else, although coefficients" in found.reason


@pytest.mark.parametrize(
    ("tree", "expected"),
    [(RICH, ("centered",)), (POOR, ("noncentered",)), (MIXED, ("noncentered", "g=centered"))],
)
def test_levels_are_centred_where_data_say_more_than_priors(tree, expected):
    problem = balanced(**tree)
    assert words(problem) == (*expected, "statistics")
    assert words(problem, ROWS) == expected
    assert "the engine cannot marginalize; centered where" in choose(problem, SAMPLED).reason


@pytest.mark.parametrize("tree", [RICH, POOR, MIXED])
@pytest.mark.parametrize("df", [1, 4])
def test_heavy_tails_do_not_change_the_choice(tree, df):
    """Of a Student-t outcome, even a Cauchy one, with the same scales."""
    tree = tree | ({"rows": 60} if tree is RICH else {})
    gaussian = words(balanced(**tree), ROWS)
    assert words(balanced(**tree, t=df, family="student_t")) == gaussian


def test_an_engine_with_one_centring_is_not_asked_for_the_other():
    for tree, only in ((RICH, "noncentered"), (POOR, "centered")):
        can = replace(ROWS, centering=frozenset({only}))
        found = choose(balanced(**tree), can)
        assert found.formulation.words == (only,)
        assert f"{only}, as the engine can do nothing else" in found.reason


def test_an_engines_own_reason_is_passed_on():
    can = replace(
        SAMPLED, reasons={Missing(coefficients="marginalized"): "not yet ours: it samples them"}
    )
    assert choose(balanced(**POOR), can).reason.startswith(
        "the engine cannot marginalize: not yet ours: it samples them; "
    )


def test_the_ratio_is_tau_squared_times_information():
    """Known here: 30 rows of sd 1 and tau 1 make 30 for a leaf, and 10 leaves 10 / (1 + 1/30) for a group.

    tau^2 has a relative error of sqrt(2/360) and sqrt(2/39): tolerances are three of them.
    """
    found = data_over_prior(balanced(**RICH, formula=WITH_Z))
    assert list(found) == ["g", "h"]
    assert found["h"] == pytest.approx(30, rel=0.25)
    assert found["g"] == pytest.approx(10 / (1 + 1 / 30), rel=0.7)


def test_an_offset_is_no_part_of_the_nodes_spread():
    spread = balanced(**MIXED, formula=WITH_Z)
    offset = balanced(**MIXED, formula=WITH_Z, offset="between")
    moved = offset.with_outcome(offset.y + offset.offset)
    assert data_over_prior(moved) == pytest.approx(data_over_prior(spread))
    assert data_over_prior(offset)["h"] > 1 > data_over_prior(moved)["h"]


def test_an_effect_that_varies_above_counts_what_leaves_tell_together():
    """`between` is constant within each leaf: no leaf knows its slope, ten leaves of a group do."""
    formula = "y ~ between + z + (between || g) + (1 || g:h)"
    problem = balanced(**RICH | {"tau_g": 0.0}, formula=formula)
    slope = np.where(problem.levels[1].parent[problem.leaf] % 2, 3.0, -3.0)
    steep = problem.with_outcome(problem.y + slope * problem.X[:, 1])
    level = 10 / (1 + 1 / 30)
    # Of slopes +3 and -3 tau^2 is 9; intercepts, all zero, decide for the level.
    assert words(steep, ROWS) == ("noncentered", "h=centered")
    apart = steep.with_outcome(steep.y + 5 * slope)
    assert data_over_prior(apart)["g"] == pytest.approx(9 * level, rel=0.5)


def test_nodes_of_an_effect_without_population_mean_spread_about_zero():
    """All groups are 50, which without a population mean is their scale, and with one is not."""
    about_zero, about_mean = (
        balanced(**RICH | {"tau_g": 0.0}, formula=formula)
        for formula in ("y ~ 0 + z + (1 || g/h)", WITH_Z)
    )
    level = 10 / (1 + 1 / 30)
    found = data_over_prior(about_zero.with_outcome(about_zero.y + 50.0))["g"]
    assert found == pytest.approx(50**2 * level, rel=0.25)
    assert data_over_prior(about_mean.with_outcome(about_mean.y + 50.0))["g"] < 1


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_that_tell_nothing_leave_it_non_centred(rows):
    """One row in each leaf and two effects; and outcomes that a line fits exactly."""
    problem = balanced(6, 3, rows, tau_g=0.0, tau_h=0.0, formula="y ~ x + (x || g/h)")
    exact = problem.with_outcome(2.0 + problem.X[:, 1])
    assert words(exact, ROWS) == ("noncentered",)
    assert all(np.isfinite(list(data_over_prior(exact).values())))


def test_a_fixed_sigma_is_taken_as_it_is():
    loose, tight = (balanced(**MIXED, priors={"sigma": sigma}) for sigma in (10.0, 0.1))
    assert words(loose, ROWS) == ("noncentered",)
    assert words(tight, ROWS) == ("centered",)
