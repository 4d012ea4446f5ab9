"""Random gaussian problems for tests of the exact reference: trees, priors, scales."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from nestor import ModelSpec, Problem


def random_parents(depth, rng):
    """Parents of each level, the first level's all 0; every parent has a child, many have only one."""
    parents, n = [], 1
    for k in range(depth):
        children = rng.integers(2, 4, n) if k == 0 else rng.choice([1, 1, 2], n)
        parents.append(np.repeat(np.arange(n), children))
        n = len(parents[-1])
    return parents


def random_table(depth, rng, decades=0.6):
    """Leaves of 1 to 4 rows; weights spread over 2 * `decades` orders of magnitude."""
    parents = random_parents(depth, rng)
    leaf = np.repeat(np.arange(len(parents[-1])), rng.integers(1, 5, len(parents[-1])))
    table, node = {}, leaf
    for k in range(depth - 1, -1, -1):
        table[f"level{k}"] = [f"n{i:03d}" for i in node]
        node = parents[k][node]
    for name in ("x1", "x2", "z", "y", "o"):
        table[name] = rng.normal(size=len(leaf))
    table["w"] = 10.0 ** rng.uniform(-decades, decades, len(leaf))
    return pd.DataFrame(table)


@st.composite
def gaussian_problems(draw, decades=0.6):
    """A problem whose coefficients are a Gaussian given its scales, of depth 1 to 5."""
    depth = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = [f"level{k}" for k in range(depth)]
    every = "/".join(names)
    formula = draw(
        st.sampled_from(
            [
                f"y ~ 1 + (1 || {every})",
                f"y ~ x1 + (x1 || {every})",
                f"y ~ x1 + z + (x1 || {every})",
                f"y ~ 1 + z + x2 + (x1 || {every})",  # x1 has no population mean
                f"y ~ 0 + x1 + x2 + (0 + x1 + x2 || {every})",
                f"y ~ 1 + x1 + z + (1 + x1 + x2 || {names[0]}) + (1 || {every})",  # most inherited
            ]
        )
    )
    spec = ModelSpec.from_formula(
        formula,
        scale=draw(st.sampled_from(["level", "parent"])),
        offset=draw(st.sampled_from([None, "o"])),
        weights=draw(st.sampled_from([None, "w"])),
        priors=draw(
            st.sampled_from(
                [{}, {"beta": "Normal(0.7, 2)"}, {"sigma": 0.8}, {"beta": "Normal(-3, 0.1)"}]
            )
        ),
    )
    return Problem(spec, random_table(depth, rng, decades))


def random_scales(problem, rng, *batch, spread=1.0):
    """Scales spread over some orders of magnitude, in canonical shapes behind `batch`."""
    return {
        v.name: np.exp(spread * rng.normal(size=(*batch, *v.shape)))
        for v in problem.variables.values()
        if v.role in ("scale", "family")
    }


def at(values, i):
    """One of a batch."""
    return {name: array[i] for name, array in values.items()}
