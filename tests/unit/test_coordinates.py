"""Canonical and unconstrained values: there and back, and two ways to the log Jacobian."""

import numpy as np
import pandas as pd
import pytest

from nestor.data.problem import Problem
from nestor.engines.coordinates import Coordinates, log_jacobian
from nestor.engines.formulation import Formulation
from nestor.model.spec import ModelSpec

PRIORS = {"beta[x]": "Uniform(-4, 4)", "tau": "Uniform(0, 9)", "gamma": "HalfNormal(2)"}


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(3)
    h = np.arange(36) % 12
    table = pd.DataFrame({"y": rng.normal(size=36), "x": rng.normal(size=36)})
    table = table.assign(z=rng.normal(size=36), g=h // 4, h=h)
    spec = ModelSpec.from_formula(
        "y ~ x + z + (x || g) + (1 || g/h)", scale={"h": "parent"}, priors=PRIORS
    )
    return Problem(spec, table)


@pytest.mark.parametrize("words", [["centered"], ["noncentered"], ["g=centered"]])
def test_there_and_back(problem, words):
    coordinates = Coordinates(problem, Formulation.parse(words, problem.spec.level_names))
    z = coordinates.start(np.random.default_rng(1))
    assert z.shape == (coordinates.dimension,)
    values, slopes = coordinates.constrain(z)
    assert list(values) == list(problem.variables)
    assert coordinates.inside(values)
    np.testing.assert_allclose(coordinates.unconstrain(values), z, rtol=1e-10, atol=1e-10)
    draws = {name: array[None, None] for name, array in values.items()}
    alone = log_jacobian(problem, coordinates.formulation, draws)
    np.testing.assert_allclose(alone, [[slopes]], rtol=1e-12)


def test_the_log_jacobian_is_the_maps(problem):
    """Against the determinant of central differences, canonical entries that are random by coordinate."""
    coordinates = Coordinates(problem, Formulation.parse([], problem.spec.level_names))
    z = coordinates.start(np.random.default_rng(2))
    step = 1e-6 * np.eye(len(z))

    def flat(points):
        values, _ = coordinates.constrain(points)
        return np.concatenate(
            [values[v.name][..., v.random] for v in problem.random_variables], axis=-1
        )

    slopes = (flat(z + step) - flat(z - step)) / 2e-6
    _, determinant = np.linalg.slogdet(slopes)
    assert determinant == pytest.approx(float(coordinates.constrain(z)[1]), rel=1e-6)


def test_every_random_entry_that_is_no_node_has_one_prior(problem):
    seen = {name: [] for name in problem.variables}
    for name, positions, prior in problem.priors.entries():
        assert not prior.is_fixed
        seen[name] += positions.tolist()
    for variable in problem.variables.values():
        wanted = [] if variable.role == "node" else np.flatnonzero(variable.random).tolist()
        assert sorted(seen[variable.name]) == wanted
    assert problem.variables["tau_h"].shape == (3, 1)
    by_entry = {(n, p): prior for n, ps, prior in problem.priors.entries() for p in ps.tolist()}
    assert str(by_entry["gamma", 0]) == "HalfNormal(2)"
