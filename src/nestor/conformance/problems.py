"""The models and data on which backends are checked; all are small, and all are made once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.data.problem import Problem
from nestor.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

#: Columns that formulas may use, beside the levels and the outcome ``y``.
PREDICTORS = ("x", "x2", "x3", "z", "z2", "offset")


def table(children: Sequence[Sequence[int]], rows: Sequence[int], seed: int = 1) -> pd.DataFrame:
    """Make a table whose tree has the given shape.

    Parameters
    ----------
    children : sequence of sequence of int
        For each level, how many children each node of the level above has.
    rows : sequence of int
        Rows of each leaf; it is repeated over the leaves.
    seed : int
        Of the numbers.

    Returns
    -------
    DataFrame
        Levels ``k1``, ``k2``, ...; `PREDICTORS` and ``p1`` to ``p11``; positive weights ``w``; an
        outcome ``y``.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    parents = [np.repeat(np.arange(len(counts)), counts) for counts in children]
    n_leaves = len(parents[-1])
    node = np.repeat(np.arange(n_leaves), np.resize(rows, n_leaves))
    columns: dict[str, Any] = {}
    for k in range(len(parents), 0, -1):
        columns[f"k{k}"] = [f"n{i:02d}" for i in node]
        node = parents[k - 1][node]
    n = len(columns["k1"])
    columns |= {name: rng.normal(0.3, 1.2, n) for name in PREDICTORS}
    columns |= {f"p{i}": rng.normal(0.3, 1.2, n) for i in range(1, 12)}
    columns["w"] = rng.uniform(0.4, 3.0, n)
    columns["y"] = 1.0 + 0.7 * columns["x"] + rng.normal(0.0, 1.5, n)
    return pd.DataFrame(columns)


@cache
def contract() -> Problem:
    """Make the problem whose draws are held to the contract.

    It has an effect without a population mean, one that the second level inherits, and a covariate.
    """
    priors = {
        "beta": "Normal(0, 2)",
        "gamma": "Normal(0, 2)",
        "tau": "LogNormal(-0.5, 0.5)",
        "sigma": "LogNormal(0, 0.5)",
    }
    spec = ModelSpec.from_formula("y ~ z + (x || k1) + (1 || k1/k2)", priors=priors)
    return Problem(spec, table([[3], [2, 3, 1]], [4, 3]))


@cache
def of_family(family: str, **priors: str) -> Problem:
    """Make a small problem with an outcome family and priors."""
    spec = ModelSpec.from_formula("y ~ 1 + z + (1 || k1)", family=family, priors=priors)
    return Problem(spec, table([[3]], [4]))
