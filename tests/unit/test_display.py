"""What a terminal, a notebook and pictures show, of labels and names as hostile as a table may have."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

import nestor
from nestor import ModelSpec, Problem, SamplerConfig, __main__
from nestor.agreement.comparison import Comparison
from nestor.agreement.criteria import Criteria
from nestor.agreement.density import compare_densities
from nestor.agreement.engine_result import EngineFailure
from nestor.agreement.pair_judge import PairJudge
from nestor.agreement.pipeline import engine_result
from nestor.backend import Draws, Timings
from nestor.engines.contender import Contender
from nestor.errors import NestorWarning
from nestor.posterior.leave_one_out import LeaveOneOut
from nestor.runner.datatree import to_datatree
from nestor.stats.diagnostics.gates import Gates
from nestor.views.plots import plot_population
from nestor.views.sentences import index_lines, prior_lines
from nestor.views.terminal.comparison import comparison_view
from nestor.views.terminal.loo import unreliable_view
from nestor.views.terminal.problem import index_view, problem_view
from nestor.views.terminal.summary import summary_view

mpl.use("agg")
pytestmark = pytest.mark.usefixtures("fake_engines")

CONFIG = SamplerConfig(chains=4, warmup=10, draws=200)
#: Markup of rich, HTML, LaTeX, control characters, a terminal's escape sequences, right-to-left override.
STATES = [
    "[bold]x[/bold]",
    "[/]",
    "a\nb\tc",
    "$a_b$ \\frac{ \\$c",
    "<script>alert(1)</script>&amp;",
]
COUNTIES = ["[link=http://x]y[/link]", "\x1b[31mred\x07", ":smile: ' \"", "\u202ebackwards", "a/b"]
LEVEL, EFFECT = "st[bold]\n$te_$<i>", "x[/] $y^$\x1b<b>"


def odd_table():
    rng = np.random.default_rng(4)
    # Two counties in each state, every county in two of them: few nodes are quick to draw.
    under = [(i, j % 5) for i in range(5) for j in (i, i + 1)]
    pairs = [(STATES[i], COUNTIES[j]) for i, j in under for _ in range(4)]
    found = pd.DataFrame(pairs, columns=[LEVEL, "county"])
    return found.assign(**{EFFECT: rng.normal(size=len(found))}, y=rng.normal(size=len(found)))


def draws_of(problem, seed):
    rng = np.random.default_rng(seed)
    lead = (CONFIG.chains, CONFIG.draws)
    values = {n: 10 + rng.standard_normal((*lead, *v.shape)) for n, v in problem.variables.items()}
    stats = {"diverging": np.zeros(lead, bool), "energy": rng.standard_normal(lead)}
    return Draws(problem.with_inherited(values), stats, Timings(), {})


def compared(problem, *contenders):
    rows = []
    for seed, text in enumerate(contenders):
        attrs = {
            "settings": {},
            "timings": {"sampling_s": 2.0, "total_s": 4.0},
            "versions": {},
            "config": {"seed": seed},
            "peak_bytes": 10**6,
        }
        contender = Contender.parse(text, problem.spec.level_names).resolve_formulation(problem)
        tree = to_datatree(problem, draws_of(problem, seed), attrs)
        check = compare_densities(contender.name, "float64", (-1.0,), (-1.0,))
        rows.append(engine_result(problem, contender, tree, density=check))
    crashed = EngineFailure(
        Contender.parse("crash@noncentered", problem.spec.level_names),
        "failed",
        f"ValueError: {STATES[0]} \x1b[31m {STATES[4]} {'long ' * 200}",
    )
    every = (*rows, crashed)
    judge = PairJudge(problem, Criteria()).judge
    pairs = tuple(judge(a, b) for a, b in combinations(every, 2))
    return Comparison(problem, CONFIG, Criteria(), every, pairs)


@pytest.fixture(scope="module")
def problem():
    formula = f"y ~ `{EFFECT}` + (`{EFFECT}` || `{LEVEL}`/county)"
    priors = {f"beta[`{EFFECT}`]": "Normal(0, 1)"}
    return Problem(ModelSpec.from_formula(formula, priors=priors), odd_table())


@pytest.fixture
def comparison(problem):
    return compared(problem, "exact", "exact2")


def shown(view, width=100):
    """What a view prints in a terminal that knows colours, and its text alone."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=True,
        highlight=False,
        color_system="truecolor",
        emoji=False,
        legacy_windows=False,
    )
    console.print(view)
    found = stream.getvalue()
    return found, re.sub(r"\x1b\[[0-9;]*m", "", found)


def loo_of(units):
    names = np.array(units, dtype=object)
    k = xr.DataArray(np.full(len(units), 2.0), dims=("county",), coords={"county": names})
    return LeaveOneOut(k, k, k, 1000)


# --- terminal


def views(problem, comparison):
    row = comparison.rows[0]
    return {
        "problem": problem_view(problem),
        "index": index_view(problem.index),
        "comparison": comparison_view(comparison),
        "summary": summary_view(problem, row.summaries),
        "left out": unreliable_view(loo_of([*STATES, *COUNTIES]), "Fit again"),
    }


@pytest.mark.parametrize("name", ["problem", "index", "comparison", "summary", "left out"])
@pytest.mark.parametrize("width", [60, 120])
def test_a_terminal_interprets_nothing(problem, comparison, name, width):
    raw, text = shown(views(problem, comparison)[name], width)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b]8" not in raw  # a link
    flat = re.sub(r"\s+", "", text)
    if name != "left out":
        assert r"st[bold]\n$te_$<i>" in flat
        assert "st[bold]$te_$<i>" not in flat
    if name in ("problem", "comparison", "summary"):
        assert re.sub(r"\s+", "", r"x[/] $y^$\x1b<b>") in flat
    if name == "left out":
        for label in ("[bold]x[/bold]", ":smile:", r"\x1b[31mred\x07"):
            assert label in text


def test_text_of_a_comparison_has_no_control_characters(comparison):
    text = str(comparison)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "[bold]x[/bold]" in text


def test_errors_and_warnings_on_the_command_line_control_no_terminal(capsys):
    with pytest.raises(SystemExit, match="2"):
        __main__._leave("error: no column 'a\x1b[31m\x07'.\nIts log ends", 2)
    __main__._show_warning(NestorWarning("label \x1b]8;;x"), NestorWarning, "", 1)
    found = capsys.readouterr().err.splitlines()
    assert found == [
        r"error: no column 'a\x1b[31m\x07'.",
        "Its log ends",
        r"warning: label \x1b]8;;x",
    ]


def test_lines_of_the_index_and_of_priors_stay_lines(problem):
    lines = [*index_lines(problem.index), *prior_lines(problem)]
    assert all(line.isprintable() for line in lines)


# --- plain repr


def test_what_holds_many_numbers_is_short(problem, comparison):
    table = pd.DataFrame(
        {"g": np.arange(3000) // 2, "y": np.random.default_rng(0).normal(size=3000)}
    )
    large = Problem(ModelSpec.from_formula("y ~ 1 + (1 || g)"), table)
    row = comparison.rows[0]
    many = (
        *(problem.index, large, large.index, large.index.levels[0], large.levels[0]),
        *(large.priors, large.spec, large.rows, large.statistics, large.variables["beta_g"]),
        *(comparison, row, row.gates, row.summaries, comparison.pairs[0], comparison.densities[0]),
        *(comparison.pairs[0].equivalence, comparison.pairs[0].shape, draws_of(problem, 1)),
    )
    for one in many:
        assert len(repr(one)) < 400
        assert "\n" not in repr(one)
    assert repr(large.index) == "NestedIndex(3,000 rows, 1,500 g)"
    assert repr(large.index.levels[0]) == "LevelIndex('g', 1,500 nodes)"
    assert repr(large.spec) == "ModelSpec('y ~ 1 + (1 || g)', family='gaussian')"
    assert repr(large.priors) == "ResolvedPriors(3 priors, 3 of them from the data)"
    assert "random=<1,500 x 1 array>" in repr(large.variables["beta_g"])
    assert repr(row).startswith("EngineResult(exact:iid@noncentered, ok")


def test_what_has_long_names_or_many_terms_is_short():
    many = ModelSpec.from_formula("y ~ " + " + ".join(f"x{i}" for i in range(3000)) + " + (1 || g)")
    name = "h" * 20_000
    long = ModelSpec.from_formula(f"y ~ x + (1 || {name})")
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"y": rng.normal(size=9), "x": rng.normal(size=9), name: list("abc") * 3})
    found = Problem(long, table)
    deep = ModelSpec.from_formula("y ~ 1 + (1 || " + "/".join(f"g{i}" for i in range(90)) + ")")
    index = found.index
    for one in (many, long, deep, found, index, index.levels[0], long.levels[0], deep.levels[-1]):
        assert len(repr(one)) < 500
        assert "..." in repr(one) or one is deep.levels[-1]
    assert repr(many).startswith("ModelSpec('y ~ 1 + x0 + x1 + ")
    assert repr(many).endswith("x2999 + (1 || g)', family='gaussian')")


def test_gates_say_what_failed_first():
    good = Gates(True, (), (), 1.001, None, None, 812.4, 900.0, None, 0, None)
    assert repr(good) == "Gates(passed: R-hat 1.001, bulk ESS 812, tail ESS 900)"
    bad = replace(good, passed=False, failures=("one", "two", "three", "four"))
    assert repr(bad) == "Gates(failed: one; two; and 2 more)"


# --- notebook


class Elements(HTMLParser):
    """Elements of a fragment, with a check that they are closed in order."""

    def __init__(self, fragment):
        super().__init__()
        self.open, self.seen, self.text, self.attributes = [], [], [], []
        self.feed(fragment)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in ("wbr", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def fragments(problem, comparison):
    return {
        "spec": problem.spec,
        "problem": problem,
        "index": problem.index,
        "priors": problem.priors,
        "comparison": comparison,
        "pair": comparison.pairs[0],
    }


OURS = {
    *("div", "style", "p", "b", "bdi", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("ul", "li", "details", "summary", "span", "wbr"),
}


@pytest.mark.parametrize("name", ["spec", "problem", "index", "priors", "comparison", "pair"])
def test_a_notebook_escapes_all_text_and_names_rows_and_columns(problem, comparison, name):
    found = fragments(problem, comparison)[name]._repr_html_()
    page = Elements(found)
    assert set(page.seen) <= OURS
    assert all(c.isprintable() or c == "\n" for c in found)
    text = "".join(page.text)
    if name in ("problem", "index", "comparison"):
        assert "<script>alert(1)</script>&amp;" in text
        assert "[bold]x[/bold]: 8 rows" in text
        assert r"\x1b[31mred\x07: 4 rows" in text
    # Each table has a caption; each cell of its head, and the first of each row, is a header.
    tables_ = page.seen.count("table")
    assert page.seen.count("caption") == page.seen.count("thead") == tables_
    scopes = [value for tag, key, value in page.attributes if (tag, key) == ("th", "scope")]
    assert len(scopes) == page.seen.count("th")
    assert scopes.count("row") == page.seen.count("tr") - tables_


def test_notes_of_a_comparison_stand_below_its_table(comparison):
    found = comparison._repr_html_()
    table = found[found.index("<caption>Engines") :]
    table, rest = table.split("</table>", 1)
    assert "long long" not in table
    assert "long long" in rest
    assert "failed" in table


def test_a_large_tree_is_cut():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.integers(0, 300, 20000), "b": rng.integers(0, 300, 20000)})
    problem = Problem(
        ModelSpec.from_formula("y ~ 1 + (1 || a/b)"), table.assign(y=rng.normal(size=20000))
    )
    assert len(problem._repr_html_()) < 12_000
    text = "".join(Elements(problem._repr_html_()).text)
    assert "and 292 more" in text
    first = table[(table.a == 0)]
    assert f"0: {len(first)} rows" in text
    smallest = first.b.min()
    assert f"{smallest}: {(first.b == smallest).sum()} row" in text


def test_many_priors_are_cut():
    rng = np.random.default_rng(0)
    names = [f"x{i}" for i in range(60)]
    table = pd.DataFrame(rng.normal(size=(200, 60)), columns=names)
    table = table.assign(y=rng.normal(size=200), g=rng.integers(0, 5, 200))
    spec = ModelSpec.from_formula(f"y ~ {' + '.join(names)} + (1 || g)")
    found = "".join(Elements(Problem(spec, table).priors._repr_html_()).text)
    assert "and 39 more" in found  # 24 of 63: intercept, tau, 60 covariates, sigma


def test_colours_of_a_notebook_are_its_own_but_for_verdicts(comparison):
    style = comparison._repr_html_()
    colours = re.findall(r"color: ([^;\"}]+)|background: ([^;\"}]+)", style)
    found = {one.strip() for pair in colours for one in pair if one}
    assert found <= {"inherit", "transparent", "#fff", "#1a7f37", "#c0242f", "#8a5a00"}


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", ["#1a7f37", "#c0242f", "#8a5a00"])
def test_a_verdict_can_be_read(colour):
    # WCAG 2.2, success criterion 1.4.3: white on the ground of the word has a contrast of 4.5.
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5


# --- files and pictures


def test_odd_labels_are_written_and_read_back(problem, tmp_path):
    tree = to_datatree(problem, draws_of(problem, 1), {})
    tree.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "draws.nc", engine="h5netcdf") as file:
        found = file.load()
    for level in problem.index.levels:
        assert list(found["posterior"][level.name].values) == list(level.paths)
        label = "st[bold]_$te_$<i>_label" if level.name == LEVEL else "county_label"
        assert list(found["constant_data"][label].values) == list(level.label_text)
    labelled = nestor.with_labels(found)["posterior"]
    own = labelled["beta_county"].where(labelled["county_label"] == COUNTIES[1], drop=True)
    assert own.sizes["county"] == 2


def words_of(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


PICTURES = {
    "trace": lambda c: c.plot_trace(),
    "forest": lambda c: c.plot_forest("county"),
    "forest of the odd level": lambda c: c.plot_forest(LEVEL),
    "population": lambda c: plot_population(c.problem, c.draws),
    "speed": lambda c: c.plot_speed(),
    "densities": lambda c: c.plot_densities(),
    "differences": lambda c: c.plot_differences(*(row.name for row in c.rows[:2])),
    "ranks": lambda c: c.plot_rank_ecdf(*(row.name for row in c.rows[:2])),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_pictures_draw_labels_as_they_stand(comparison, name):
    figure = PICTURES[name](comparison)
    for text in words_of(figure):
        assert all(c.isprintable() or c == "\n" for c in text)
        # No pair of signs that matplotlib would take for a formula.
        assert not mpl.cbook.is_math_text(text), text
