"""The six salary series of the blog post that nestor grew from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nestor.data.datasets.tree_design import generator
from nestor.errors import DataError
from nestor.errors.arguments import number

# (degree, state, county, slope, intercept), dollars per month and dollars
_SERIES = (
    ("no degree", "CA", "Riverside", 5000.0, 1250.0),
    ("no degree", "IL", "Cook", 6500.0, 1150.0),
    ("no degree", "IL", "Lake", 7000.0, 1350.0),
    ("degree", "CA", "Riverside", 6000.0, 1250.0),
    ("degree", "IL", "Cook", 7500.0, 1150.0),
    ("degree", "IL", "Lake", 8000.0, 1350.0),
)
_MOST_MONTHS = 23


def blog_truth() -> pd.DataFrame:
    """Return the lines that `blog_income` scatters salaries about.

    Returns
    -------
    pandas.DataFrame
        Six rows; columns degree, state, county, slope (dollars per month) and intercept (dollars,
        the expected salary at month_index 0).
    """
    return pd.DataFrame(_SERIES, columns=["degree", "state", "county", "slope", "intercept"])


def blog_income(seed: int = 0, *, noise_sd: float = 500.0) -> pd.DataFrame:
    """Return the blog post's income data, drawn anew.

    Each of the six series has a number of months n drawn uniformly from 1 to 23, month_index 0 to n
    - 1, and salary = slope * month_index + intercept + Normal(0, noise_sd).

    Parameters
    ----------
    seed : int
        The same seed gives the same table.
    noise_sd : float
        Standard deviation of a salary about its line, in dollars; the post has 500.

    Returns
    -------
    pandas.DataFrame
        Columns degree, state, county, month_index (integer) and salary (dollars); 6 to 138 rows.

    Raises
    ------
    DataError
        If an argument is out of range.
    """
    random = generator(seed)
    noise_sd = number("noise_sd", noise_sd, least=0.0, error=DataError)
    lines = blog_truth()
    months = random.integers(1, _MOST_MONTHS + 1, size=len(lines))
    table = lines.loc[np.repeat(lines.index, months)].reset_index(drop=True)
    table["month_index"] = np.concatenate([np.arange(n) for n in months])
    noise = noise_sd * random.standard_normal(len(table))
    table["salary"] = table["slope"] * table["month_index"] + table["intercept"] + noise
    return table[["degree", "state", "county", "month_index", "salary"]]
