"""The problems that engines are timed on: one model, two sizes of data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from nestor.data.datasets import simulate_tree
from nestor.data.problem import Problem
from nestor.model.spec import ModelSpec

LEVELS = ("region", "place")
SEED = 20_261_126
PRIORS = {"beta": "Normal(0, 10)", "tau": "HalfNormal(5)", "sigma": "HalfNormal(5)"}


@dataclass(frozen=True)
class Size:
    """A size of data: rows, and how many children each node has, the root's first."""

    rows: int
    branching: tuple[int, int]


SIZES = {
    "small": Size(2_000, (10, 20)),
    "large": Size(50_000, (50, 100)),
}


@cache
def make_problem(size: str) -> Problem:
    """Simulate two levels with a slope; all scales are between 0.5 and 1.

    Parameters
    ----------
    size : {"small", "large"}
        2,000 rows in 200 leaves, or 50,000 rows in 5,000.
    """
    chosen = SIZES[size]
    tree = simulate_tree(
        branching=chosen.branching, rows=chosen.rows, levels=LEVELS, slopes=1, seed=SEED
    )
    return Problem(ModelSpec.from_formula(tree.formula, priors=PRIORS), tree.table)
