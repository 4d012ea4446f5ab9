"""The kit finds planted faults: the check that is meant for each of them fails, and no other."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from broken import DEFERRED, DENSITY_FAULTS, FAULTS, GARBAGE, Crashes, Defers, Model, backend
from rich.console import Console

from nestor import Problem
from nestor.conformance import run_conformance, targets
from nestor.conformance.problems import table
from nestor.engines import registry
from nestor.views.terminal.conformance import report_view

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures" / "mutants"))
from nestor_mutants import (
    ForgottenDeterminant,
    Hamiltonian,
    OneChainCut,
    QuarterFourTimes,
    ScalesCopied,
    SecondHalfCopied,
    SharedNoise,
    Shuffled,
    WarmupKept,
)

sys.path.pop(0)  # or they would be installed engines to all other tests

QUADRATURE = "gaussian, by quadrature, noncentered, sequential]"


def bad(report):
    return {result.check for result in report.bad}


def test_without_a_fault_everything_passes():
    report = run_conformance(backend(), tiers=("api", "density"))
    assert bad(report) == set(), report.bad
    assert report.ok
    assert report.n_run == sum(r.outcome == "passed" for r in report.results) >= 80
    assert {r.outcome for r in report.results} == {"passed", "skipped"}
    assert all(r.reason for r in report.results if r.outcome == "skipped")


def test_draws_that_are_rightly_deferred_pass():
    report = run_conformance(backend(Defers), only=DEFERRED)
    assert {r.outcome for r in report.results} == {"passed"}
    assert {r.reason for r in report.results} == {"deferred: beta_k1"}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_the_interface(fault):
    engine, expected = FAULTS[fault]
    report = run_conformance(engine, tiers=("api",))
    assert bad(report) == expected, report.bad
    assert not report.ok


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize("engine", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_fails_and_the_kit_survives_it(engine):
    """Whatever comes back: rows that say so, in a table, as JSON and on any terminal."""
    report = run_conformance(engine, tiers=("api",))
    assert report.bad
    assert not report.ok
    document = json.loads(report.to_json())
    assert len(report.to_frame()) == document["checks"] > 0
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    Console(file=stream, width=80).print(report_view(report))


@pytest.mark.parametrize("fault", DENSITY_FAULTS)
def test_faults_of_the_density(fault):
    engine, expected = DENSITY_FAULTS[fault]
    report = run_conformance(engine, tiers=("density",), quick=True)
    assert bad(report) == expected, report.bad


def test_a_crash_is_an_error_in_every_check_that_samples():
    report = run_conformance(backend(Crashes), tiers=("api",))
    errors = [r for r in report.results if r.outcome == "error"]
    assert len(errors) > 10
    assert {r.reason for r in errors} == {"ZeroDivisionError: the sampler divided by zero"}
    assert {r.case for r in errors if "metropolis" not in r.case} == {
        "sampling a model for densities only"
    }


def around(name, model):
    """An installed backend, its models inside of `model`; all in this process."""
    inner = registry.get(name).backend

    class Faulty(type(inner)):
        implementation = "faulty"

        def compile(self, problem, formulation, *, sampler, device, dtype):
            made = super().compile(
                problem, formulation, sampler=sampler, device=device, dtype=dtype
            )
            return model(made, problem, sampler)

    return Faulty()


def exact(fault):
    """The reference's exact sampler, with a fault put into its draws."""

    class Wrong(Model):
        def sample(self, config, on_progress=None):
            draws = self.inner.sample(config, on_progress)
            return replace(draws, values=fault({**draws.values}))

    return around("reference", Wrong)


def shifted(values):
    """Half a posterior sd, which is about 0.6."""
    return values | {"beta_k1": values["beta_k1"] + 0.3}


def wide(values):
    """A scale a quarter too large: what a prior's sd read as a variance may do."""
    return values | {"tau_k1": values["tau_k1"] * 1.25}


@pytest.mark.parametrize("fault", [shifted, wide])
def test_a_wrong_posterior_fails(fault):
    report = run_conformance(exact(fault), only=QUADRATURE)
    assert [r.outcome for r in report.results] == ["failed"]
    name = "beta_k1" if fault is shifted else "tau_k1"
    assert name in report.results[0].reason


def test_the_right_posterior_passes_and_says_what_it_would_have_seen():
    report = run_conformance(exact(dict), only=QUADRATURE)
    (result,) = report.results
    assert result.outcome == "passed", result.reason
    assert "would be found" in result.reason


class TooWide(type(registry.get("reference").backend)):
    """Samples with sigma's prior 1.3 times too wide; its log density is the right one."""

    implementation = "faulty"

    def compile(self, problem, formulation, *, sampler, device, dtype):
        def compiled(about):
            return super(TooWide, self).compile(
                about, formulation, sampler=sampler, device=device, dtype=dtype
            )

        prior = problem.priors.family["sigma"]
        if prior.is_fixed:
            return compiled(problem)
        spec = problem.spec.with_priors({"sigma": targets.widened(prior, 1.3)})
        columns = table(((2,),), (1,), seed=3)

        class Wrong(Model):
            def sample(self, config, on_progress=None):
                return self.inner.sample(config, on_progress)

            def log_density(self, point):
                return compiled(problem).log_density(point)

        return Wrong(compiled(Problem(spec, columns)), problem, sampler)


NO_DATA = "prior of sigma, next to no data"


def test_a_wrong_prior_that_the_log_density_hides_shows_in_the_draws():
    report = run_conformance(TooWide(), only=NO_DATA)
    assert {r.outcome for r in report.results} == {"failed"}
    assert all("of sigma is" in r.reason for r in report.results), report.results


def test_the_right_prior_passes_and_says_with_what_power():
    results = run_conformance(exact(dict), only=NO_DATA).results
    assert {r.outcome for r in results} == {"passed"}, results
    for result in results:
        assert "a prior of sigma or tau 1.3 times too wide would be found" in result.reason
        assert "at least 0.99" in result.reason


@pytest.mark.parametrize(
    ("mutant", "only", "reason"),
    [
        (SharedNoise, "recovers_coefficients_exactly[exact, two", "have correlation"),
        (ForgottenDeterminant, "is_the_joint_less", "log p(y, scales) differs"),
        (ForgottenDeterminant, "[depth 2, gaussian, marginalized]", "12 of 12 points differ"),
    ],
)
def test_wrongly_marginalized_coefficients_fail(mutant, only, reason):
    report = run_conformance(mutant(), only=only)
    assert [r.outcome for r in report.results] == ["failed"]
    assert reason in report.results[0].reason


def test_chains_that_stand_still_show_nothing():
    def stuck(values):
        return {name: array * 0 + array[:, :1] for name, array in values.items()}

    report = run_conformance(exact(stuck), only=QUADRATURE)
    assert [r.outcome for r in report.results] == ["failed"]
    assert "have not mixed" in report.results[0].reason


def are_chains(engine, how="noncentered"):
    """The result of the check on the draws of one engine."""
    only = f"draws_are_chains[{engine.samplers[0]}, {how}]"
    (result,) = run_conformance(engine, only=only).results
    return result.outcome, result.reason


@pytest.mark.parametrize(
    ("mutant", "reason"),
    [
        (SecondHalfCopied, "again"),
        (QuarterFourTimes, "again"),
        (ScalesCopied, "again of the scales"),
        (Shuffled, "energies do not go with the draws before them"),
        (OneChainCut, "one chain cut into pieces"),
        (WarmupKept, "still adapting"),
    ],
)
def test_draws_that_are_no_chains_fail(mutant, reason):
    """Right posteriors, or nearly: what is wrong is how the draws were made."""
    how = "marginalized" if mutant is ScalesCopied else "noncentered"
    outcome, said = are_chains(mutant(), how)
    assert outcome == "failed"
    assert reason in said


def test_one_scale_below_zero_among_thousands_fails():
    def one_below_zero(values):
        values["tau_k1"][2, 700, 0] = -0.1
        return values

    outcome, said = are_chains(exact(one_below_zero))
    assert outcome == "failed"
    assert "tau_k1[Intercept] = -0.1 at draw 700 of chain 2" in said


def test_chains_pass_and_say_what_could_not_be_checked():
    assert are_chains(Hamiltonian()) == ("passed", "")
    outcome, said = are_chains(registry.get("reference").backend)
    assert outcome == "passed"
    assert "no energies" in said


def test_seconds_that_are_left_out_are_found():
    def divided(timings):
        return replace(timings, warmup=timings.warmup / 10, sampling=timings.sampling / 10)

    class Quick(Model):
        def sample(self, config, on_progress=None):
            draws = self.inner.sample(config, on_progress)
            return replace(draws, timings=divided(draws.timings))

    only = "phases_add_up_to_the_run[exact, noncentered]"
    (result,) = run_conformance(around("reference", Quick), only=only).results
    assert result.outcome == "failed", result.reason
    assert "no phase accounts for" in result.reason
