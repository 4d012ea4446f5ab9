"""The demo's data: a larger income tree with the blog post's columns, on which samplers mix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nestor.data.datasets.simulate import Simulated
from nestor.data.datasets.tree_design import generator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray

FORMULA = "salary ~ month_index + (month_index || degree/state/county)"

# (intercept, slope) in thousands of dollars a month, and in the same per month: near 1, since samplers
# start within a few units of 0. Each level's scale is 1.5 to 3
# times the standard error with which its nodes are known from the rows below them. At or below that
# error tau would reach down to 0; far above it, or with many more rows, the population's coefficients
# and the nodes' deviations become strongly correlated in the non-centred form. Months run about 0
# because intercepts and slopes would be strongly correlated otherwise.
_BETA = (4.2, 0.04)
_TAU_DEGREE = (0.25, 0.07)
_TAU_STATE = (0.22, 0.06)
_TAU_COUNTY = (0.2, 0.055)
_SIGMA = 0.4
_POPULATION = {
    "beta": _BETA,
    "tau_degree": _TAU_DEGREE,
    "tau_state": _TAU_STATE,
    "tau_county": _TAU_COUNTY,
    "sigma": _SIGMA,
}
_STATES = 4
_COUNTIES = (3, 5)
_MONTHS = (5, 12)


def income(seed: int = 0) -> pd.DataFrame:
    """Return the demo's table: see `simulate_income`."""
    return simulate_income(seed).table


def income_truth(seed: int = 0) -> dict[str, FloatArray]:
    """Return the canonical variables that `income` of the same seed was drawn from."""
    return simulate_income(seed).truth


def simulate_income(seed: int = 0) -> Simulated:
    """Simulate monthly salaries by degree, state and county.

    12 degrees, 4 states each, 3 to 5 counties each, 5 to 12 months each: about 190 counties and
    1,600 rows, from the model ``salary ~ month_index + (month_index || degree/state/county)`` with
    Gaussian noise. month_index counts from the middle month of a series of n, so it runs from
    -floor(n / 2), and intercepts are salaries of that month. Names of states and counties recur
    under several parents; the numbers are invented.

    Parameters
    ----------
    seed : int
        The same seed gives the same result.

    Returns
    -------
    Simulated
        Columns degree, state, county, month_index (integer) and salary (thousands of dollars a
        month). The
        degrees' deviations are rescaled to mean 0 and standard deviation tau exactly, so that no
        seed makes them vanish by chance, and the largest intercepts belong to the longest
        schooling.

    Raises
    ------
    DataError
        If the seed is not an integer of at least 0.
    """
    random = generator(seed)
    degree_of_state, state = _choose_states(random)
    state_of_county, county = _choose_counties(state, random)
    degree = np.sort(np.array(DEGREES))
    beta_degree = _degree_coefficients(degree, random)
    beta_state = _children(beta_degree, degree_of_state, _TAU_STATE, random)
    beta_county = _children(beta_state, state_of_county, _TAU_COUNTY, random)
    leaf, month = _series(len(county), random)
    mean = beta_county[leaf, 0] + beta_county[leaf, 1] * month
    table = pd.DataFrame(
        {
            "degree": degree[degree_of_state[state_of_county[leaf]]],
            "state": state[state_of_county[leaf]],
            "county": county[leaf],
            "month_index": month,
            "salary": mean + _SIGMA * random.standard_normal(len(leaf)),
        }
    )
    truth = {"beta_degree": beta_degree, "beta_state": beta_state, "beta_county": beta_county}
    root = np.zeros(len(degree), dtype=np.intp)
    return Simulated(
        table=table,
        truth={name: np.array(value) for name, value in _POPULATION.items()} | truth,
        formula=FORMULA,
        arguments={"family": "gaussian"},
        effects=("Intercept", "month_index"),
        parents={"degree": root, "state": degree_of_state, "county": state_of_county},
        leaf=leaf,
    )


def _series(
    counties: int, random: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return each row's county and month_index, which is 0 in the middle of its series."""
    months = random.integers(_MONTHS[0], _MONTHS[1] + 1, size=counties)
    leaf = np.repeat(np.arange(counties), months)
    middle = np.cumsum(months) - months + months // 2
    return leaf, np.arange(len(leaf)) - middle[leaf]


def _choose_states(random: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
    """Return each state's degree and name, in path order."""
    names = np.tile(np.array(sorted(COUNTIES)), (len(DEGREES), 1))
    chosen = np.sort(random.permuted(names, axis=1)[:, :_STATES], axis=1)
    return np.repeat(np.arange(len(DEGREES)), _STATES), chosen.ravel()


def _choose_counties(
    state: NDArray[np.str_], random: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
    """Return each county's state and name, in path order."""
    states = np.array(sorted(COUNTIES))
    by_state = np.array([COUNTIES[name] for name in states])
    names = random.permuted(by_state[np.searchsorted(states, state)], axis=1)
    counts = random.integers(_COUNTIES[0], _COUNTIES[1] + 1, size=len(state))
    parent = np.repeat(np.arange(len(state)), counts)
    chosen = names[np.arange(names.shape[1]) < counts[:, None]]
    return parent, chosen[np.lexsort((chosen, parent))]


def _degree_coefficients(degrees: NDArray[np.str_], random: np.random.Generator) -> FloatArray:
    z = random.standard_normal((len(degrees), 2))
    z = (z - z.mean(axis=0)) / z.std(axis=0, ddof=1)
    # a permutation of exchangeable nodes, so the model holds all the same
    schooling = np.array([DEGREES.index(name) for name in degrees])
    z[:, 0] = np.sort(z[:, 0])[schooling]
    return np.array(_BETA) + np.array(_TAU_DEGREE) * z


def _children(
    above: FloatArray,
    parent: NDArray[np.intp],
    tau: tuple[float, float],
    random: np.random.Generator,
) -> FloatArray:
    return above[parent] + np.array(tau) * random.standard_normal((len(parent), 2))


#: from the least schooling to the most
DEGREES = (
    "no degree",
    "high school",
    "certificate",
    "apprenticeship",
    "some college",
    "associate",
    "bachelor",
    "postbaccalaureate",
    "master",
    "specialist",
    "professional",
    "doctorate",
)

COUNTIES: Mapping[str, tuple[str, ...]] = {
    "CA": ("Lake", "Orange", "Riverside", "Los Angeles", "San Diego", "Alameda", "Sacramento"),
    "CO": ("Lake", "Jefferson", "Washington", "Jackson", "Denver", "Boulder", "El Paso"),
    "FL": ("Lake", "Orange", "Jefferson", "Washington", "Jackson", "Polk", "Miami-Dade"),
    "GA": ("Jefferson", "Washington", "Jackson", "Polk", "Fulton", "DeKalb", "Cobb"),
    "IL": ("Lake", "Cook", "Jefferson", "Washington", "Jackson", "DuPage", "Will"),
    "IN": ("Lake", "Orange", "Jefferson", "Washington", "Jackson", "Marion", "Monroe"),
    "NY": ("Orange", "Jefferson", "Washington", "Kings", "Queens", "Erie", "Monroe"),
    "OH": ("Lake", "Jefferson", "Washington", "Jackson", "Franklin", "Cuyahoga", "Hamilton"),
    "OR": ("Lake", "Jefferson", "Washington", "Jackson", "Polk", "Multnomah", "Lane"),
    "TN": ("Lake", "Jefferson", "Washington", "Jackson", "Polk", "Shelby", "Davidson"),
    "TX": ("Orange", "Jefferson", "Washington", "Jackson", "Polk", "Harris", "Travis"),
    "WI": ("Jefferson", "Washington", "Jackson", "Polk", "Dane", "Milwaukee", "Brown"),
}
