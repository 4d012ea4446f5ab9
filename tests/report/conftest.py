"""Reports of made-up tables, each written once."""

import functools
import os
import shutil

import pytest

pytest.importorskip("plotly", reason="the report needs plotly: pip install 'nestor[report]'")

import report_tables

from nestor.bench.statistics import BenchStatistics
from nestor.views.report import write_report

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Headless, in a container, and silent: no part of the browser itself may want the network.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
INFOS = {"rich": report_tables.infos, "hostile": report_tables.hostile_infos}


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Write the report of a table by its name; return its path."""
    folder = tmp_path_factory.mktemp("reports")

    @functools.cache
    def written(name):
        path = folder / f"{name}.html"
        table = {"rich": report_tables.rich, **report_tables.AWKWARD}[name]()
        write_report(BenchStatistics(table), INFOS.get(name, list)(), path)
        return path

    return written


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = os.environ.get("NESTOR_CHROMIUM") or next(
        filter(None, map(shutil.which, CHROMIUM)), None
    )
    if found is None:
        pytest.skip("no Chromium: put it on the path, or its path into NESTOR_CHROMIUM")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield browser
        browser.close()
