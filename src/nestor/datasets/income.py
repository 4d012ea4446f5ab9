"""The demo's data: a larger income tree with the blog post's columns, on which samplers mix."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nestor.datasets.arguments import generator
from nestor.datasets.places import COUNTIES, DEGREES
from nestor.datasets.simulate import Simulated

Array = NDArray[np.float64]

FORMULA = "salary ~ month_index + (month_index || degree/state/county)"

# (intercept, slope) in dollars a month, and dollars a month per month. Each level's scale is about
# the standard error with which its nodes are known from the rows below them. Much smaller scales
# would leave tau to the prior; much larger ones make the population's coefficients and the nodes'
# strongly correlated in the non-centred form.
_BETA = (4200.0, 40.0)
_TAU_DEGREE = (110.0, 16.0)
_TAU_STATE = (180.0, 28.0)
_TAU_COUNTY = (290.0, 45.0)
_SIGMA = 500.0
_STATES = 5
_COUNTIES = (4, 6)
_MONTHS = (6, 18)


def income(seed: int = 0) -> pd.DataFrame:
    """Return the demo's table: see `simulate_income`."""
    return simulate_income(seed).table


def income_truth(seed: int = 0) -> dict[str, Array]:
    """Return the canonical variables that `income` of the same seed was drawn from."""
    return simulate_income(seed).truth


def simulate_income(seed: int = 0) -> Simulated:
    """Simulate monthly salaries by degree, state and county.

    12 degrees, 5 states each, 4 to 6 counties each, 6 to 18 months each (month_index from 0): about
    300 counties and 3,600 rows, from the model ``salary ~ month_index + (month_index ||
    degree/state/county)`` with Gaussian noise. Names of degrees, states and counties recur under
    several parents; the numbers are invented.

    Parameters
    ----------
    seed : int
        The same seed gives the same result.

    Returns
    -------
    Simulated
        Columns degree, state, county, month_index (integer) and salary (dollars a month). The
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
    degrees = np.sort(np.array(DEGREES))
    beta = np.array(_BETA)
    beta_degree = _degree_coefficients(degrees, random)
    beta_state = _children(beta_degree, degree_of_state, _TAU_STATE, random)
    beta_county = _children(beta_state, state_of_county, _TAU_COUNTY, random)
    months = random.integers(_MONTHS[0], _MONTHS[1] + 1, size=len(county))
    leaf = np.repeat(np.arange(len(county)), months)
    month = np.arange(len(leaf)) - np.repeat(np.cumsum(months) - months, months)
    mean = beta_county[leaf, 0] + beta_county[leaf, 1] * month
    table = pd.DataFrame(
        {
            "degree": degrees[degree_of_state[state_of_county[leaf]]],
            "state": state[state_of_county[leaf]],
            "county": county[leaf],
            "month_index": month,
            "salary": mean + _SIGMA * random.standard_normal(len(leaf)),
        }
    )
    return Simulated(
        table=table,
        truth={
            "beta": beta,
            "beta_degree": beta_degree,
            "beta_state": beta_state,
            "beta_county": beta_county,
            "tau_degree": np.array(_TAU_DEGREE),
            "tau_state": np.array(_TAU_STATE),
            "tau_county": np.array(_TAU_COUNTY),
            "sigma": np.array(_SIGMA),
        },
        formula=FORMULA,
        arguments={"family": "gaussian"},
        effects=("Intercept", "month_index"),
        parents={
            "degree": np.zeros(len(degrees), dtype=np.intp),
            "state": degree_of_state,
            "county": state_of_county,
        },
        leaf=leaf,
    )


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


def _degree_coefficients(degrees: NDArray[np.str_], random: np.random.Generator) -> Array:
    z = random.standard_normal((len(degrees), 2))
    z = (z - z.mean(axis=0)) / z.std(axis=0, ddof=1)
    # a permutation of exchangeable nodes, so the model holds all the same
    schooling = np.array([DEGREES.index(name) for name in degrees])
    z[:, 0] = np.sort(z[:, 0])[schooling]
    return np.array(_BETA) + np.array(_TAU_DEGREE) * z


def _children(
    above: Array, parent: NDArray[np.intp], tau: tuple[float, float], random: np.random.Generator
) -> Array:
    return above[parent] + np.array(tau) * random.standard_normal((len(parent), 2))
