"""Fixtures that several folders of tests share."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem, registry

ENGINES = Path(__file__).parent / "fixtures" / "engines"


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    """Print on lines of one width, whatever terminal the tests are started from."""
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def add_engines(monkeypatch):
    """Make the engines of a folder known, here and in worker processes."""

    def add_engines(folder):
        monkeypatch.syspath_prepend(str(folder))
        rest = os.environ.get("PYTHONPATH")
        monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{rest}" if rest else str(folder))
        registry.backends.cache_clear()

    yield add_engines
    registry.backends.cache_clear()


@pytest.fixture
def fake_engines(add_engines):
    """The engines of fixtures/engines are known."""
    add_engines(ENGINES)


@pytest.fixture(scope="session")
def small_table():
    """Two levels, one slope, 60 rows; labels of the second level occur under several parents."""
    rng = np.random.default_rng(20)
    table = pd.DataFrame(
        {
            "g": rng.choice(list("abc"), 60),
            "h": rng.choice(list("xy"), 60),
            "x": rng.normal(size=60),
        }
    )
    return table.assign(y=table.x + rng.normal(size=60))


@pytest.fixture(scope="session")
def small_problem(small_table):
    return Problem(ModelSpec.from_formula("y ~ x + (x || g/h)"), small_table)
