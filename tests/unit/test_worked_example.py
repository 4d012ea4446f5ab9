"""The example of docs/marginalization.md: its numbers are the package's, and those of dense algebra."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nestor
from nestor import ModelSpec, Problem
from nestor_reference import conditional_dense, log_marginal, log_marginal_dense

PAGE = (Path(__file__).parents[2] / "docs" / "marginalization.md").read_text(encoding="utf-8")
#: Half a unit of the last of four digits, and a little for the rounding of sums of rounded numbers.
ROUNDED = 6e-5


@pytest.fixture(scope="module")
def leaves():
    """Leaf, outcomes, and the numbers of the first table."""
    rows = re.findall(r"^\| ([ab]\d) \| ([\d, ]+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    return {
        name: ([float(y) for y in ys.split(",")], [float(x) for x in numbers.split("|")])
        for name, ys, numbers in rows
    }


@pytest.fixture(scope="module")
def problem(leaves):
    table = pd.DataFrame(
        [{"group": name[0], "place": name, "y": y} for name, (ys, _) in leaves.items() for y in ys]
    )
    spec = ModelSpec.from_formula("y ~ 1 + (1 || group/place)", priors={"beta": "Normal(0, 10)"})
    return Problem(spec, table)


SCALES = {"tau_group": [1.0], "tau_place": [0.5], "sigma": 1.0}


def test_the_leaves_statistics_and_messages(leaves, problem):
    found = problem.statistics
    for v, (ys, (P, m, det, Q)) in enumerate(leaves.values()):
        assert found.gram[v, 0, 0] == pytest.approx(P)
        assert found.fit[v, 0, 0] == pytest.approx(m)
        assert len(ys) == P
        assert det == pytest.approx(1 + 0.25 * P)
        assert pytest.approx(P / det, abs=ROUNDED) == Q
    assert found.residual[0, 0] == pytest.approx(4.0)


def test_the_parents_messages(leaves):
    of = {name: (numbers[1], numbers[0] / numbers[2]) for name, (_, numbers) in leaves.items()}
    rows = re.findall(r"^\| (a|b|root) \| (.+) \|$", PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == ["a", "b", "root"]
    passed = {}
    for name, text in rows:
        children = passed if name == "root" else {k: x for k, x in of.items() if k[0] == name}
        means, Q = np.array(list(children.values())).T
        P, x = Q.sum(), 100.0 if name == "root" else 1.0
        mean = Q @ means / P
        exact = [P, mean, Q @ (means - mean) ** 2, 1 + x * P, P / (1 + x * P)]
        assert [float(part) for part in text.split("|")] == pytest.approx(exact, abs=ROUNDED)
        if name != "root":
            passed[name] = (mean, P / (1 + x * P))


def test_the_marginal_density(problem):
    said = float(re.search(r"= (-[\d.]+)\.\n", PAGE)[1])
    assert log_marginal_dense(problem, SCALES) == pytest.approx(said, abs=ROUNDED)
    assert float(log_marginal(problem, SCALES)) == pytest.approx(said, abs=ROUNDED)


def test_the_conditional_means(problem):
    text = re.search(r"by x Q: (.+)\.\n", PAGE)[1]
    said = {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+)", text)}
    assert set(said) == {"beta_root", "a", "b", "a1", "a2", "b1", "b2"}
    dense = conditional_dense(problem, SCALES).mean
    found = nestor.conditional_moments(problem, SCALES).mean
    order = [said["beta_root"], said["a"], said["b"], *(said[n] for n in ("a1", "a2", "b1", "b2"))]
    for values in (dense, {name: found[name].to_numpy() for name in dense}):
        flat = np.concatenate([np.ravel(values[n]) for n in ("beta", "beta_group", "beta_place")])
        assert flat == pytest.approx(order, abs=ROUNDED)
