"""The benchmarks of docs/benchmarks.md are those of the committed records."""

import runpy
from pathlib import Path

import pytest

from nestor.bench.table import read_tables

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DIRECTORIES = sorted(path.parent.name for path in RESULTS.glob("*/bench.json"))


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "benchmarks" / "site_tables.py"))


def test_the_tables_are_what_the_records_give(script, monkeypatch):
    monkeypatch.delenv("COLUMNS")  # the script sets a width of its own
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert {"chem97", "simulated-3-level-quick"} <= set(DIRECTORIES)
    assert script["renew"](page, RESULTS) == page


def test_a_page_without_markers_is_refused(script):
    with pytest.raises(SystemExit, match="no marker"):
        script["renew"]("# Benchmarks\n", RESULTS)


@pytest.mark.parametrize("name", DIRECTORIES)
def test_committed_tables_are_those_of_their_records(name):
    import pandas as pd

    stored = pd.read_parquet(RESULTS / name / "results.parquet")
    pd.testing.assert_frame_equal(read_tables([RESULTS / name]), stored, check_dtype=False)
    assert not stored["commit"].str.endswith("-dirty").any()
