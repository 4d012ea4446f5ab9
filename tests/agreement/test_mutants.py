"""Engines that are wrong on purpose, and what is seen of them in their draws alone.

That each is caught by its step is in ``tests/session/test_wrong_engines.py``.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nestor.agreement import PairSide, Verdict, judge
from nestor.agreement.density import compare_densities, density_points
from nestor.agreement.pipeline import diagnose
from nestor.agreement.recovery import check_recovery
from nestor.agreement.sampled_density import check_sampled_density
from nestor.backend import SamplerConfig
from nestor.engines.formulation import Formulation
from nestor.posterior.quantities import ComparedQuantities
from nestor.references import problem
from nestor.runner.contract import check_draws

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures" / "mutants"))
from nestor_mutants import MUTANTS, Hamiltonian, Mutant

sys.path.pop(0)  # or they would be installed engines to all other tests

PLACE = {"device": "cpu", "dtype": "float64"}
CONFIG = SamplerConfig(chains=4, warmup=1000, draws=500, seed=5, chain_method="sequential")


@pytest.fixture(scope="module")
def school():
    return problem("one-level")


class Marginalizing(Mutant):
    marginalizes = True


@pytest.fixture(scope="module")
def engines(school):
    """The engine without a fault, its coefficients sampled and marginalized."""
    return {one.marginalizes: compiled(one, school) for one in (Mutant(), Marginalizing())}


@pytest.fixture(scope="module")
def right(engines):
    return engines[False]


@pytest.fixture(scope="module")
def partner(school, right):
    return right.sample(CONFIG)


def compiled(mutant, of):
    levels = of.spec.level_names
    formulation = (
        Formulation.marginalized(levels) if mutant.marginalizes else Formulation.parse([], levels)
    )
    return mutant.compile(of, formulation, sampler="exact", **PLACE)


def same_density(of, right, model):
    points = density_points(of, 12)
    values = ([m.log_density(point) for point in points] for m in (right, model))
    return compare_densities("mutant", "float64", *values).same


def run_of(of, draws, right, density_ok, *, marginalizes=False):
    """The run as a session sees it."""
    found = diagnose(of, draws.values, draws.stats, draws.settings, "float64")
    check = check_sampled_density(
        of,
        "mutant",
        "float64",
        draws.values,
        draws.stats,
        right.log_density,
        marginalized=marginalizes,
    )
    recovered = None
    if marginalizes:
        recovered = check_recovery(of, "mutant", draws.values, right.density.whitened).exact
    return PairSide(
        "mutant",
        ComparedQuantities(of).labels,
        found.summaries,
        found.gates,
        density_ok,
        check.same,
        recovered_ok=recovered,
    )


@pytest.mark.parametrize("faultless", [Mutant(), Marginalizing(), Hamiltonian()])
def test_the_engine_without_a_fault_passes_every_step(school, engines, partner, faultless):
    marginalizes = faultless.marginalizes
    right, again = engines[marginalizes], compiled(faultless, school)
    assert same_density(school, right, again)
    other = again.sample(replace(CONFIG, seed=6))
    check_draws(school, other, CONFIG.chains, CONFIG.draws)
    runs = [
        run_of(school, partner, engines[False], True),
        run_of(school, other, right, True, marginalizes=marginalizes),
    ]
    assert all(run.gates.passed and run.sampled_ok for run in runs)
    assert runs[1].recovered_ok is (True if marginalizes else None)
    assert judge(*runs).verdict is Verdict.AGREE


def test_a_shifted_mean_is_caught_by_its_draws_where_the_density_is_not_reported(
    school, right, partner
):
    shifted = next(e.mutant for e in MUTANTS if e.mutant.name == "shifted-mean")
    draws = compiled(shifted, school).sample(replace(CONFIG, seed=9))
    silent = replace(run_of(school, draws, right, True), sampled_ok=None)
    result = judge(run_of(school, partner, right, True), silent)
    assert result.verdict is Verdict.DISAGREE
    assert "beta[Intercept]" in result.reasons[0]


def test_shared_noise_shows_in_the_log_likelihood_of_the_draws_and_in_no_coefficient(
    school, right, partner
):
    """Nothing but its draws is known: the coefficients are right one by one, their sum of squares is not."""
    shared = next(e.mutant for e in MUTANTS if e.mutant.name == "shared-noise")
    for seed in range(9, 12):
        draws = compiled(shared, school).sample(replace(CONFIG, seed=seed))
        silent = replace(run_of(school, draws, right, True), sampled_ok=None)
        result = judge(run_of(school, partner, right, True), silent)
        assert {one.label for one in result.difference.rejected} == {"log_likelihood"}
        assert result.verdict is Verdict.DISAGREE


def test_draws_of_a_cut_off_ratio_follow_it(school, right):
    """The mutants' own sampler: exact draws reweighted by 1 / sigma have their mean where it should be."""
    from nestor_mutants import accepted

    draws = accepted(right, CONFIG, None, lambda d: -np.log(d.values["sigma"]))
    many = right.sample(replace(CONFIG, draws=4000, seed=77)).values["sigma"]
    weights = 1.0 / many
    expected = np.average(many, weights=weights)
    error = draws.values["sigma"].std() / np.sqrt(CONFIG.chains * CONFIG.draws / 1.5)
    assert abs(draws.values["sigma"].mean() - expected) < 4 * error  # false alarm below 1e-4
