"""The check of the log density that was really sampled."""

import numpy as np
import pytest

from nestor import ModelSpec, Problem, SamplerConfig, Verdict
from nestor.agreement.run import compare
from nestor.agreement.sampled_density import N_DRAWS, check_sampled_density
from nestor.engines.formulation import Formulation
from nestor_reference import ReferenceBackend

CONFIG = SamplerConfig(chains=2, warmup=10, draws=120)


@pytest.mark.usefixtures("fake_engines")
def test_a_density_without_its_jacobian_disagrees_after_sampling(small_problem):
    found = compare(small_problem, ["reporting", "jacobianless"], config=CONFIG)
    good, bad = found.rows
    assert good.sampled_density.same
    assert good.sampled_density.largest < 1e-12
    assert len(good.sampled_density.reference) == N_DRAWS
    assert bad.status == "density_failed"
    assert all(check.same for check in found.densities)  # the one before sampling saw nothing
    assert found.verdict is Verdict.DISAGREE
    assert "it sampled differs" in found.pairs[0].reasons[0]
    documents = found.to_dict()["engines"]
    assert [d["sampled_density"]["same"] for d in documents] == [True, False]


@pytest.mark.usefixtures("fake_engines")
def test_a_sampler_that_does_not_report_it_is_named(small_problem):
    found = compare(small_problem, ["exact", "exact2"], config=CONFIG)
    assert found.rows[0].sampled_density is None
    assert any("does not report" in note for note in found.pairs[0].notes)


@pytest.mark.parametrize("shape", [(4, 1000), (1, 7), (30, 2), (3, 7)])
def test_positions_are_spread_over_all_chains(small_problem, shape):
    stats = {"lp": np.zeros(shape), "log_jacobian": np.zeros(shape)}
    values = {n: np.ones((*shape, *v.shape)) for n, v in small_problem.variables.items()}
    values["sigma"] = np.arange(shape[0] * shape[1]).reshape(shape) + 1.0
    seen = []

    def reference(point):
        seen.append(divmod(int(point["sigma"]) - 1, shape[1]))
        return 0.0

    check = check_sampled_density(small_problem, "x", "float64", values, stats, reference)
    assert check.same
    assert len(seen) == min(N_DRAWS, shape[0] * shape[1])
    assert len({chain for chain, _ in seen}) == min(shape[0], len(seen))


@pytest.mark.parametrize("family", ["gaussian", "student_t"])
def test_an_outcome_far_from_zero_is_not_held_against_a_sampler(small_table, family):
    """At y of 1e11 and sigma of 1 the residuals have no more than five digits after the point."""
    table = small_table.assign(y=small_table.y + 1e11)
    spec = ModelSpec.from_formula("y ~ x + (1 || g)", family=family)
    problem = Problem(spec, table)
    rng = np.random.default_rng(8)
    shape = (2, 10)
    values = {n: np.ones((*shape, *v.shape)) for n, v in problem.variables.items()}
    deviation = rng.standard_normal(values["beta_g"].shape)
    values["beta"][..., 0] += 1e11
    values["beta_g"] = values["beta"][:, :, None] + deviation * [1, 0]
    nearby = {n: np.nextafter(v, np.inf) if n == "beta_g" else v for n, v in values.items()}
    model = ReferenceBackend().compile(
        problem, Formulation.parse([], ["g"]), sampler=None, device="cpu", dtype="float64"
    )
    lp = np.empty(shape)
    for at in np.ndindex(shape):
        lp[at] = model.log_density({n: v[at] for n, v in nearby.items()})
    stats = {"lp": lp, "log_jacobian": np.zeros(shape)}
    check = check_sampled_density(problem, "x", "float64", values, stats, model.log_density)
    assert check.same
    stats["lp"] = lp + 1.0
    assert not check_sampled_density(problem, "x", "float64", values, stats, model.log_density).same


@pytest.mark.parametrize("tau", [1e-1, 1e-5, 1e-9])
def test_rounding_of_a_draw_is_not_held_against_a_sampler(small_problem, tau):
    """The density at coefficients in full precision, the draws rounded to single precision."""
    model = ReferenceBackend().compile(
        small_problem,
        Formulation.parse([], ["g", "h"]),
        sampler=None,
        device="cpu",
        dtype="float64",
    )
    rng = np.random.default_rng(8)
    shape = (2, 10)
    values = {n: 100.0 * np.ones((*shape, *v.shape)) for n, v in small_problem.variables.items()}
    values |= {n: np.full_like(v, tau) for n, v in values.items() if n.startswith("tau")}
    for name in ("beta_g", "beta_h"):
        values[name] = values[name] + tau * rng.standard_normal(values[name].shape)
    values["sigma"] = np.ones(shape)
    lp = np.empty(shape)
    for at in np.ndindex(shape):
        lp[at] = model.log_density({n: v[at] for n, v in values.items()})
    rounded = {n: v.astype(np.float32).astype(np.float64) for n, v in values.items()}
    stats = {"lp": lp, "log_jacobian": np.zeros(shape)}
    arguments = (rounded, stats, model.log_density)
    assert check_sampled_density(small_problem, "x", "float32", *arguments).same
    wrong = stats | {"log_jacobian": np.full(shape, 0.01 * abs(lp).max())}
    found = check_sampled_density(small_problem, "x", "float32", rounded, wrong, model.log_density)
    assert found.same is (tau == 1e-9)  # there the rounding hides everything
