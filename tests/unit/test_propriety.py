"""Data that leave nothing for sigma: found, refused before anything runs, and nothing else is."""

import itertools

import numpy as np
import pandas as pd
import pytest

import nestor
from nestor import DataError, ModelSpec, Problem, SamplerConfig
from nestor.calibration.run import check_study
from nestor.data import propriety
from nestor_reference import log_marginal

N = 40
RNG = np.random.default_rng(40)
X = RNG.normal(size=N).round(3)
NOISE = RNG.normal(size=N)
G = np.arange(N) // 5
PAIR = np.arange(N) // 2
OF_G = RNG.normal(size=8).round(3)[G]
OF_PAIR = RNG.normal(size=20).round(3)[PAIR]


def table(y):
    return pd.DataFrame(
        {
            "y": y,
            "x": X,
            "g": G,
            "pair": PAIR,
            "one": np.arange(N),
            "w": np.linspace(1, 2, N),
            "o": OF_PAIR,
        }
    )


def problem(formula, y, **model):
    return Problem(ModelSpec.from_formula(formula, **model), table(y))


def batched(formula, y, **model):
    rows = table(y)
    spec = ModelSpec.from_formula(formula, **model)
    return Problem.from_batches(spec, [rows.iloc[:17], rows.iloc[17:]])


LINE = 0.3 * X + 1.0
EXACT = {
    "constant in every group": ("y ~ 1 + (1 | g)", OF_G, "one value in all rows of each g"),
    "a line, and a constant in every group": ("y ~ x + (1 | g)", OF_G + LINE, "fits every row"),
    "a line in every group": ("y ~ x + (x || g)", OF_G + OF_G * X, "fits every row"),
    "a line that varies above the leaves": (
        "y ~ x + (x || g) + (1 || g:pair)",
        OF_PAIR + OF_G * X,
        "fits every row",
    ),
    "a line through leaves of one row": (
        "y ~ x + (1 | one)",
        LINE,
        "even if Intercept varies between no one",
    ),
    "constant in every group, leaves of one row": (
        "y ~ 1 + (1 | g/one)",
        OF_G,
        "even if Intercept varies between no one",
    ),
    "one slope, pairs that have two coefficients": (
        "y ~ x + (x || pair)",
        OF_PAIR + LINE,
        "even if x varies between no pair",
    ),
    "far from zero": ("y ~ x + (1 | g)", OF_G + LINE + 1e9, "fits every row"),
    "a residual below rounding": ("y ~ x + (1 | g)", OF_G + LINE + 1e-15 * NOISE, "fits every row"),
}
LEFT = {
    "noise": ("y ~ x + (x || g)", OF_G + LINE + NOISE),
    "noise, leaves of one row": ("y ~ x + (1 | one)", LINE + NOISE),
    "noise, pairs that have two coefficients": ("y ~ x + (x || pair)", NOISE),
    "noise in pairs of which only the parents have slopes": (
        "y ~ x + (x || g) + (1 || g:pair)",
        OF_PAIR + NOISE,
    ),
    "a line in every group, and one slope": ("y ~ x + (1 | g)", OF_G + OF_G * X),
    "a line in one group less": ("y ~ x + (1 | g)", OF_G + LINE + np.where(G == 7, NOISE, 0.0)),
}


@pytest.mark.parametrize("case", EXACT, ids=str)
@pytest.mark.parametrize("make", [problem, batched])
def test_what_fits_exactly_is_found(case, make):
    formula, y, why = EXACT[case]
    found = make(formula, y).why_improper
    assert found.startswith("of the outcome 'y' nothing is left for sigma")
    if make is problem:
        assert why in found


@pytest.mark.parametrize("case", LEFT, ids=str)
@pytest.mark.parametrize("make", [problem, batched])
def test_what_leaves_something_is_not_refused(case, make):
    assert make(*LEFT[case]).why_improper == ""


def test_a_small_residual_that_rounding_does_not_make_is_left():
    y = OF_G + LINE + 1e-11 * NOISE
    assert problem("y ~ x + (1 | g)", y).why_improper == ""


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        ({"family": "student_t"}, True),
        ({"weights": "w"}, True),
        ({"priors": {"sigma": "Gamma(2, 1)"}}, True),
        # N - k = 40 - 9 = 31 rows' worth of a pole, which sigma^39 outweighs.
        ({"priors": {"sigma": "Gamma(40, 1)"}}, False),
        ({"priors": {"sigma": "Uniform(0, 5)"}}, True),
        ({"priors": {"sigma": "Uniform(0.1, 5)"}}, False),
        ({"priors": {"sigma": "InverseGamma(3, 1)"}}, False),
        ({"priors": {"sigma": "LogNormal(0, 1)"}}, False),
        ({"priors": {"sigma": 0.5}}, False),
    ],
    ids=str,
)
def test_priors_and_families_decide(model, refused):
    found = problem("y ~ x + (1 | g)", OF_G + LINE, **model)
    assert bool(found.why_improper) == refused


def test_an_offset_is_taken_off_first():
    assert problem("y ~ x + offset(o) + (1 | g)", OF_G + LINE + OF_PAIR).why_improper
    assert not problem("y ~ x + offset(o) + (1 | g)", OF_G + LINE).why_improper


@pytest.mark.parametrize(
    ("formula", "y", "gone", "pole"),
    [
        ("y ~ 1 + (1 | g)", OF_G, (), N - 8),
        ("y ~ x + (x || g)", OF_G + OF_G * X, (), N - 16),
        ("y ~ x + (1 | one)", LINE, ("tau_one",), N - 2),
        ("y ~ 1 + (1 | g/one)", OF_G, ("tau_one",), N - 8),
    ],
)
def test_the_exact_marginal_density_has_the_pole(formula, y, gone, pole):
    """From the reference's own density of the outcome given the scales, as some of them go to zero."""
    of = problem(formula, y)
    scales = {v.name: np.full(v.shape, 0.7) for v in of.variables.values() if v.role == "scale"}
    pace = np.array([1e-3, 1e-4])
    found = [
        log_marginal(
            of,
            {name: np.full_like(a, r) if name in gone else a for name, a in scales.items()}
            | {"sigma": np.array(r)},
        ).item()
        for r in pace
    ]
    slope = (found[1] - found[0]) / np.log(pace[1] / pace[0])
    # What differs is of the order (pace / tau)^2.
    assert slope == pytest.approx(-pole, abs=0.01)


def test_all_rows_are_looked_at_where_the_first_fit(monkeypatch):
    monkeypatch.setattr(propriety, "_FIRST", 5)
    exact = OF_G + LINE
    other = exact + np.where(np.arange(N) == 8, 0.5, 0.0)  # in none of the places
    assert problem("y ~ x + (1 | g)", exact).why_improper
    assert not problem("y ~ x + (1 | g)", other).why_improper


def test_rank_and_remainder_are_those_of_dense_least_squares():
    for formula, y in (*LEFT.values(), *(case[:2] for case in EXACT.values())):
        of = problem(formula, y)
        scales = [(k, int(j)) for k, v in enumerate(of.levels) for j in v.varying]
        for gone in itertools.chain([()], ((scale,) for scale in scales)):
            dense = propriety._fit_dense(of, frozenset(gone), slice(0, N))
            tree = propriety._fit_tree(of, frozenset(gone), dense.size)
            assert tree.rank == dense.rank
            # Both are rounded as products of the outcome are.
            assert tree.left == pytest.approx(dense.left, rel=1e-9, abs=1e-12 * dense.size**2)


@pytest.mark.usefixtures("fake_engines")
def test_nothing_runs_and_nothing_is_written(tmp_path):
    of = problem("y ~ 1 + (1 | g)", OF_G)
    with pytest.raises(DataError, match="nothing is left for sigma"):
        nestor.fit(of, "exact", progress=False)
    with pytest.raises(DataError, match="nothing is left for sigma"):
        nestor.compare(of, ["exact", "exact2"], out=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="nothing is left for sigma"):
        check_study(of, "exact", SamplerConfig(), 10, "posterior", 63, None, None)
    # Around the prior outcomes are simulated: these are not looked at.
    check_study(of, "exact", SamplerConfig(), 10, "prior", 63, None, None)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("family", ["gaussian", "student_t"])
@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_numbers_of_any_size(family, size):
    """Squares of them are no doubles: what is left is told all the same, and notes raise nothing."""
    priors = {"beta": "Normal(0, 1)", "tau": "HalfNormal(1)", "sigma": "HalfNormal(1)"}
    priors |= {"nu": "Gamma(2, 0.1)"} if family == "student_t" else {}
    rows = table(size * OF_G).assign(x=size * X)
    spec = ModelSpec.from_formula("y ~ 1 + (x || g)", family=family, priors=priors)
    for y, found in ((rows.y, True), (rows.y + size * NOISE, False)):
        of = Problem(spec, rows.assign(y=y))
        assert bool(of.why_improper) == found
        assert of.notes == ()
