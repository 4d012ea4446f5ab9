"""Checks of problems whose rows are not in memory: what stands for rows, shared points, rounding."""

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem
from nestor.agreement.density import (
    DensityCheck,
    ReferenceDensity,
    compare_densities,
    density_points,
)
from nestor.agreement.pipeline import check_density
from nestor.agreement.sampled_density import check_sampled_density
from nestor.agreement.surrogate_rows import mean_row_weight, rounding_of_sums, surrogate_rows
from nestor.engines import registry
from nestor.engines.contender import Contender
from nestor.engines.formulation import Formulation
from nestor.posterior.log_likelihood import total_log_likelihood
from nestor.runner import engine
from nestor_reference import conditional_mean

FORMULA = "y ~ x + z + same + (x || g/h)"
JOINT, MARGINAL = ["statistics"], ["marginalized"]


def table(n=60, seed=5):
    """`same` is the same in all rows of a leaf, and some leaves have one row."""
    rng = np.random.default_rng(seed)
    found = pd.DataFrame({"g": rng.choice(list("abc"), n), "h": rng.choice(list("xyzuvw"), n)})
    for name in ("x", "z", "e"):
        found[name] = rng.normal(size=n)
    found["w"] = np.exp(rng.normal(size=n))
    found["same"] = found.groupby(["g", "h"])["e"].transform("mean")
    return found.assign(y=found.x + 3 * found.z + rng.normal(size=n))


def both(data, formula=FORMULA, **options):
    """The problem with rows, and that of the same rows read in two batches."""
    spec = ModelSpec.from_formula(formula, **options)
    return Problem(spec, data), Problem.from_batches(spec, [data.iloc[::2], data.iloc[1::2]])


def reference(problem, words):
    return registry.get("reference").backend.compile(
        problem,
        Formulation.parse(words, problem.spec.level_names),
        sampler=None,
        device="cpu",
        dtype="float64",
    )


@pytest.mark.parametrize("options", [{}, {"weights": "w", "offset": "e"}])
def test_few_rows_have_the_residuals_of_all(options):
    whole, summed = both(table(), **options)
    assert surrogate_rows(whole) is whole.rows
    rng = np.random.default_rng(6)
    for _ in range(5):
        beta, gamma = rng.normal(size=(whole.levels[-1].n, 2)), rng.normal(size=2)
        squares = []
        for rows in (whole.rows, surrogate_rows(summed)):
            left = rows.y - np.sum(rows.X * beta[rows.leaf], axis=1) - rows.Z @ gamma
            left = left if rows.offset is None else left - rows.offset
            squares.append(np.sum(left**2 * (1 if rows.weights is None else rows.weights)))
        assert squares[1] == pytest.approx(squares[0], rel=1e-12)
    weights = np.ones(1) if whole.weights is None else whole.weights
    assert mean_row_weight(summed) == pytest.approx(np.exp(np.log(weights).mean()), rel=1e-12)


def test_without_weights_points_are_those_of_the_whole_table():
    whole, summed = both(table(), offset="e")
    for one, other in zip(density_points(whole, 9), density_points(summed, 9), strict=True):
        assert list(one) == list(other)
        for name, value in one.items():
            np.testing.assert_allclose(other[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("unit", [1e-100, 1e-9, 1.0, 1e9, 1e100])
def test_weighted_points_have_finite_densities_in_any_unit(unit):
    data = table().assign(y=lambda t: unit * t.y, w=lambda t: 1e20 * t.w)
    _, summed = both(data, weights="w")
    oracle = ReferenceDensity(summed, 9)
    for words in (JOINT, MARGINAL):
        found = oracle.log_densities(Formulation.parse(words, ["g", "h"]))
        assert np.isfinite(found).all()
        assert len(set(found)) == 9
    # The second kind is at the pooled fit, not somewhere in the prior.
    residual = table().y.std() * unit
    assert np.all([abs(p["beta"]).max() < 10 * residual for p in oracle.points[1::3]])


@pytest.mark.parametrize("words", [JOINT, MARGINAL], ids=["joint", "marginal"])
def test_a_wrong_density_is_found_at_draws(words):
    _, summed = both(table(), weights="w")
    model, shape = reference(summed, words), (2, 10)
    points = density_points(summed, 20)
    values = {
        n: np.reshape([p[n] for p in points], (*shape, *points[0][n].shape)) for n in points[0]
    }
    lp = np.reshape([model.log_density(point) for point in points], shape)

    def check(lp):
        stats = {"lp": lp, "log_jacobian": np.zeros(shape)}
        how = {"marginalized": words == MARGINAL}
        return check_sampled_density(
            summed, "x", "float64", values, stats, model.log_density, **how
        )

    assert check(lp).same
    assert not check(lp * (1 + 1e-7)).same


def test_rounding_of_draws_is_not_held_against_a_sampler():
    """At y of 1e11 and sigma of 1 residuals have no more than five digits after the point."""
    _, summed = both(table().assign(y=lambda t: t.y + 1e11), "y ~ x + (1 || g)")
    rng, shape = np.random.default_rng(8), (2, 10)
    values = {n: np.ones((*shape, *v.shape)) for n, v in summed.variables.items()}
    values["beta"][..., 0] += 1e11
    deviation = rng.standard_normal(values["beta_g"].shape)
    values["beta_g"] = values["beta"][:, :, None] + deviation * [1, 0]
    nearby = values | {"beta_g": np.nextafter(values["beta_g"], np.inf)}
    model, lp = reference(summed, JOINT), np.empty(shape)
    for at in np.ndindex(shape):
        lp[at] = model.log_density({n: v[at] for n, v in nearby.items()})
    zero = np.zeros(shape)
    arguments = (summed, "x", "float64", values)
    good, bad = ({"lp": lp + shift, "log_jacobian": zero} for shift in (0.0, 1.0))
    assert check_sampled_density(*arguments, good, model.log_density).same
    assert not check_sampled_density(*arguments, bad, model.log_density).same


def test_what_sums_cannot_tell_is_not_held_against_an_engine():
    """The covariate explains all but 1e-9 of the variance: two right sums differ by more than 1e-8."""
    data = table(n=600)
    data["y"] = 3e3 * data.z + 0.1 * data.y
    whole, summed = both(data, "y ~ x + z + (1 || g)")
    scales = {"tau_g": np.array([0.1]), "sigma": np.array(0.1)}
    point = scales | conditional_mean(whole, scales)
    one = reference(summed, JOINT).log_parts(point)["likelihood"]
    lead = {name: np.asarray(value)[None, None] for name, value in point.items()}
    other = float(total_log_likelihood(summed, lead)[0, 0])
    assert not compare_densities("x", "float64", [one], [other]).same
    rounding = rounding_of_sums(summed, point)
    assert compare_densities("x", "float64", [one], [other], [rounding]).same
    assert not compare_densities("x", "float64", [one], [one * (1 + 1e-5)], [rounding]).same
    assert rounding_of_sums(summed, point, marginalized=True) == pytest.approx(
        rounding / 4, rel=0.1
    )
    assert rounding_of_sums(whole, point) == 0.0


def test_the_first_step_allows_for_the_rounding_of_sums(tmp_path, monkeypatch):
    """Where a covariate explains all but 1e-12 of it, sums of squares have few digits of the rest."""
    data = table(400)
    data["y"] = 1e5 * data.z + data.x + 0.1 * data.w
    summed = both(
        data,
        "y ~ x + z + (x || g/h)",
        priors={"sigma": "HalfNormal(0.2)", "beta": "Normal(0, 10)", "gamma[z]": "Normal(1e5, 10)"},
    )[1]
    points = ReferenceDensity(summed).points
    formulation = Formulation.parse(MARGINAL, summed.spec.level_names)
    other = registry.get("numba").backend.compile(
        summed, formulation, sampler=None, device="cpu", dtype="float64"
    )
    values = [other.log_density(point) for point in points]
    monkeypatch.setattr(engine, "evaluate", lambda *args, **options: (None, values))
    contender = Contender.parse("numba@marginalized", summed.spec.level_names)

    def same():
        found = check_density(summed, contender, ReferenceDensity(summed), tmp_path / "log")
        return isinstance(found, DensityCheck)

    assert same()
    monkeypatch.setattr(ReferenceDensity, "rounding", lambda self, formulation: [0.0] * len(points))
    assert not same()
