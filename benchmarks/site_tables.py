"""Renew the benchmark tables and charts that docs/benchmarks.md shows, from results directories.

    python benchmarks/site_tables.py benchmarks/results

Each marker ``<!-- bench NAME table -->`` or ``<!-- bench NAME growth -->`` in docs/benchmarks.md is followed
by a block. It is replaced by what ``nestor bench table`` prints of the directory NAME: figures and notes, or
growth exponents. Charts go to docs/images.
"""

import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from nestor.bench.statistics import BenchStatistics
from nestor.bench.table import read_tables
from nestor.views.plots import save_bench_plots
from nestor.views.terminal.bench import growth_view, print_figures

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
#: Of the tables; they stand in the page as they are.
WIDTH = 100
#: Results directory to its charts: the picture's own name, and that in docs/images.
CHARTS = {
    "chem97": {"time-matched.png": "bench-chem97.png"},
    "simulated-3-level-quick": {"growth-matched.png": "bench-growth.png"},
}
BLOCK = re.compile(r"(<!-- bench (\S+) (table|growth) -->\n)\n(?:    .*\n|\n)*?(?=\S)")


def printed(folder, part):
    """Return what the terminal shows of results, as an indented block."""
    stream = io.StringIO()
    console = Console(file=stream, width=WIDTH, highlight=False, emoji=False, color_system=None)
    statistics = BenchStatistics(read_tables([folder]))
    if part == "growth":
        console.print(growth_view(statistics.growth))
    else:
        print_figures(statistics, console)
    lines = [line.rstrip() for line in stream.getvalue().strip("\n").splitlines()]
    return "\n".join(f"    {line}".rstrip() for line in lines)


def renew(text, results):
    """Put the present tables into the text of the page."""

    def block(found):
        return f"{found[1]}\n{printed(results / found[2], found[3])}\n\n"

    renewed, count = BLOCK.subn(block, text)
    if not count:
        raise SystemExit("the page has no marker such as <!-- bench chem97 table -->")
    return renewed


def main(results):
    """Renew the page and the charts."""
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    for name, charts in CHARTS.items():
        with tempfile.TemporaryDirectory() as folder:
            save_bench_plots(BenchStatistics(read_tables([results / name])), Path(folder))
            for own, kept in charts.items():
                shutil.copyfile(Path(folder) / own, IMAGES / kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
