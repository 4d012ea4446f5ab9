"""README and the site: links that lead somewhere, blocks that fit, every public name in the reference."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

import nestor

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("**/*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page: Path) -> None:
    """Sphinx checks those of the site more closely; on a code host README's have to lead somewhere too."""
    generated = {DOCS / "reference" / "cli.md"}
    targets = [(page.parent / link).resolve() for link in LINK.findall(page.read_text("utf-8"))]
    assert [path for path in targets if path not in generated and not path.exists()] == []


def test_readme_is_read_in_five_minutes_and_nothing_wraps() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 250
    assert [line for line in lines if line.startswith("    ") and len(line) > 110] == []
    shown = [line[4:] for line in lines if line.startswith("    ")]
    assert [line for line in shown if len(line) > 100] == []


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_what_the_map_of_the_source_names_exists(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = re.findall(r"`((?:src|backends|benchmarks|tests)/[\w/.]*)`", text)
    assert len(named) >= 5
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_reference_has_every_public_name() -> None:
    page = (DOCS / "reference" / "nestor.md").read_text("utf-8")
    assert set(re.findall(r"^   (\w+)$", page, flags=re.MULTILINE)) == set(nestor.__all__)


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


@pytest.fixture(scope="module")
def renew() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "renew.py"))


def test_every_page_that_shows_a_run_is_renewed(renew: dict[str, Any]) -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        assert text.count("<!-- renew ") == len(renew["BLOCK"].findall(text))
        assert "<!-- renew " not in text or page in renew["PAGES"]


def test_a_block_gets_the_new_output_less_what_it_leaves_out(renew: dict[str, Any]) -> None:
    text = "a\n<!-- renew demo without Estimates; Written -->\nold\n<!-- end of demo -->\nb"
    printed = {"demo": "\none\n\n\nEstimates\n  1\n\nWritten to\n\ntwo\n  three\n"}
    found = renew["BLOCK"].sub(lambda match: renew["block"](match, printed), text)
    command = f"    $ {renew['RUNS']['demo'].command}\n\n"
    assert found == text.replace(
        "old\n", f"\n{command}    one\n\n    [...]\n\n    two\n      three\n\n"
    )
