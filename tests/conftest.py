"""Fixtures that several folders of tests share."""

import io
import os
import re
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from nestor import ModelSpec, Problem
from nestor.engines import registry

ENGINES = Path(__file__).parent / "fixtures" / "engines"


def pytest_configure() -> None:
    """Undo that signals are ignored, which every process that a test starts would inherit.

    A script's background job ignores SIGINT, and one under nohup SIGHUP.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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


def _printed(view, columns):
    stream = io.StringIO()
    Console(file=stream, width=columns, highlight=False, emoji=False, color_system=None).print(view)
    return stream.getvalue()


def _atoms(text):
    """Words, and of names the parts that may stand on lines of their own; rules of tables are none."""
    words = [word for word in text.split() if set(word) - set("─━-") or word == "-"]
    return Counter(
        atom for word in words for atom in re.split(r"(?<=.)(?=[@\[])|(?<=[,/])(?=.)", word)
    )


@pytest.fixture
def assert_whole():
    """Assert that a view, or two texts of one, says in so many columns what it says in any number.

    What several rows of a table share may be said once in another form of it: then `often` is False.
    """

    def assert_whole(view, columns, wide=None, *, often=True):
        narrow = _printed(view, columns) if wide is None else view
        found, whole = _atoms(narrow), _atoms(_printed(view, 10_000) if wide is None else wide)
        assert max(map(len, narrow.splitlines())) <= columns
        assert set(found) <= set(whole), f"broken: {set(found) - set(whole)}"
        left_out = whole - found if often else set(whole) - set(found)
        assert not left_out, f"left out: {left_out}"

    return assert_whole
