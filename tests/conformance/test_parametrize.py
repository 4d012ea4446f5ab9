"""One pytest test of every check, in a suite of its own; and pytest is loaded only there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SUITE = """
from broken import IgnoresTheSeed, backend

from nestor.conformance import parametrize

SEEDS = "api.another_seed_gives_other_draws[metropolis]"


@parametrize(backend(IgnoresTheSeed), only="seed", expected_failures={SEEDS: "seeds come later"})
def test_known(check):
    check()


@parametrize(backend(), only="seed", expected_failures={SEEDS: "seeds come later"})
def test_strict(check):
    check()


@parametrize(backend(IgnoresTheSeed), only="seed")
def test_unknown(check):
    check()


@parametrize(backend(), only="max_tree_depth")
def test_skipped(check):
    check()
"""


def test_outcomes_are_pytests(tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", str(tmp_path)]
    paths = [str(Path(__file__).parent), "."]
    done = subprocess.run(
        [*command, "-o", f"pythonpath={' '.join(paths)}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 failed, 3 passed, 1 skipped, 1 xfailed" in done.stdout, done.stdout + done.stderr
    assert "test_known[api.another_seed_gives_other_draws[metropolis]]" in done.stdout
    assert "are the same" in done.stdout
    assert "a random walk builds no trees" in done.stdout


def test_the_kit_loads_without_pytest():
    code = "import sys, nestor.conformance; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
