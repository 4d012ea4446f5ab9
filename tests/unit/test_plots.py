"""Pictures: what is on them, what the words say, and that nothing of the user's is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from nestor.backend import Draws, Timings
from nestor.data.problem import Problem
from nestor.errors import DataError, NestorWarning, SpecError, Unsupported
from nestor.model.spec import Level, ModelSpec
from nestor.runner.datatree import to_datatree
from nestor.views.format import columns, shorten
from nestor.views.plots import plot_forest, plot_population, plot_speed, plot_trace, save_all
from nestor.views.plots.draws import density, entries, intervals, spread_evenly, unmixed
from nestor.views.plots.text import file_stems, label

if TYPE_CHECKING:
    from collections.abc import Mapping

pytest.importorskip("matplotlib")

FORMULA = "y ~ x + (x || state/county)"


def make_problem(formula=FORMULA, *, states=("CA", "IL", "NY"), counties=4, rename=None, **options):
    rng = np.random.default_rng(3)
    labels = [(s, f"county {c}") for s in states for c in range(counties)] * 2
    table = pd.DataFrame(labels, columns=["state", "county"])
    for name in ("x", "z", "y"):
        table[name] = rng.normal(size=len(table))
    return Problem(ModelSpec.from_formula(formula, **options), table.rename(columns=rename or {}))


def make_tree(problem, *, chains=2, draws=60, seed=0, change=None, diverging=None):
    rng = np.random.default_rng(seed)
    values = {
        v.name: rng.normal(size=(chains, draws, *v.shape)) for v in problem.variables.values()
    }
    for name, function in (change or {}).items():
        values[name] = function(values[name])
    stats = {} if diverging is None else {"diverging": diverging}
    return to_datatree(
        problem, Draws(problem.with_inherited(values), stats, Timings(), {}), {"a": 1}
    )


@pytest.fixture(scope="module")
def problem():
    return make_problem()


@pytest.fixture(scope="module")
def trees(problem):
    return {"pymc:nutpie": make_tree(problem), "numpyro:nuts": make_tree(problem, seed=1)}


@dataclass(frozen=True)
class Row:
    name: str
    status: str = "ok"
    timings: Mapping[str, float | None] = field(default_factory=dict)
    efficiency: Mapping[str, float | None] = field(default_factory=dict)


def fast(name="pymc", *, ess=100.0, **changes):
    timings = {"compile_s": 2.0, "warmup_s": 3.0, "sampling_s": 4.0, "total_s": 10.0, **changes}
    return Row(name, "ok", timings, {"ess_per_s_sampling": ess, "ess_per_s_total": ess / 2.5})


def words(figure):
    """Every text that a reader sees."""
    figure.canvas.draw()
    found = [text.get_text() for text in figure.texts]
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    for axis in figure.axes:
        found += [axis.get_title(loc) for loc in ("left", "center")]
        found += [text.get_text() for text in (*axis.texts, *axis.get_yticklabels())]
        found += [axis.get_xlabel()]
    return [text for text in found if text]


def titles(figure):
    return [axis.get_title("left") for axis in figure.axes if axis.get_title("left")]


# --- trace


def test_trace_has_a_row_per_variable_and_effect_and_a_column_per_engine(problem, trees):
    figure = plot_trace(problem, trees)
    # beta 2, tau_state 2, tau_county 2, beta_state 2, beta_county 2, sigma 1
    assert len(figure.axes) == 11 * (1 + 2)
    names = [title.split("   ")[0] for title in titles(figure) if not title.startswith("chains")]
    assert names == [
        "beta[Intercept]",
        "beta[x]",
        "tau_state[Intercept]",
        "tau_state[x]",
        "tau_county[Intercept]",
        "tau_county[x]",
        "beta_state[Intercept]",
        "beta_state[x]",
        "beta_county[Intercept]",
        "beta_county[x]",
        "sigma",
    ]


def test_trace_draws_a_curve_per_node_and_a_line_per_chain(problem, trees):
    figure = plot_trace(problem, trees)
    scalar, chains = figure.axes[0], figure.axes[1]
    node = figure.axes[8 * 3]
    # Curves of one engine are one collection; the fill below a single curve is another.
    assert [len(c.get_paths()) for c in node.collections] == [12, 12]
    assert len(scalar.collections) == 4
    assert [len(c.get_paths()) for c in chains.collections] == [2]
    assert node.get_title("left") == "beta_county[Intercept]   12 nodes"


def test_trace_thins_long_chains_and_keeps_their_span(problem):
    tree = make_tree(problem, chains=1, draws=1201)
    chain = plot_trace(problem, {"a": tree}).axes[1].collections[0].get_paths()[0].vertices
    # every third of 1201 draws: 0, 3, ..., 1200
    assert len(chain) == 401
    assert chain[-1, 0] == 1200


def test_trace_shows_the_chains_of_the_node_that_mixes_worst(problem, trees):
    def stuck(array):
        array[1, :, 6, 0] += 50
        return array

    bad = make_tree(problem, seed=1, change={"beta_county": stuck})
    figure = plot_trace(problem, {**trees, "bad": bad})
    path = problem.coords["county"][6]
    assert figure.axes[8 * 4 + 1].get_title("left") == f"chains of {path}"


def test_trace_says_how_many_nodes_are_drawn():
    problem = make_problem(counties=30)
    figure = plot_trace(problem, {"a": make_tree(problem, draws=20)})
    assert "beta_county[x]   40 of 90 nodes" in titles(figure)


def test_trace_marks_divergences_where_there_are_any(problem):
    diverging = np.zeros((2, 60), bool)
    diverging[1, [5, 40]] = True
    figure = plot_trace(problem, {"a": make_tree(problem, diverging=diverging)})
    assert list(figure.axes[1].lines[0].get_xdata()) == [5, 40]
    assert "divergence" in words(figure)
    none = make_tree(problem, diverging=np.zeros((2, 60), bool))
    assert "divergence" not in words(plot_trace(problem, {"a": none}))


def test_per_parent_scales_are_curves_of_one_row():
    problem = make_problem(scale={"county": "parent"})
    figure = plot_trace(problem, {"a": make_tree(problem)})
    assert "tau_county[x]   3 nodes" in titles(figure)


def test_inherited_entries_are_left_out():
    problem = make_problem("y ~ x + (x || state) + (1 || state/county)")
    shown = {(e.variable, e.effect) for e in entries(problem)}
    assert ("beta_county", "Intercept") in shown
    assert ("beta_county", "x") not in shown
    figure = plot_forest(problem, {"a": make_tree(problem)}, "county")
    assert len(figure.axes) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_draws_that_are_not_finite_are_counted_and_the_rest_drawn(problem, bad):
    def spoil(array):
        array[0, :3] = bad
        return array

    trees = {"a": make_tree(problem, change={"beta_state": spoil}), "b": make_tree(problem)}
    note = "Left out: draws with values that are not finite, 3 of a."
    assert note in words(plot_trace(problem, trees))
    assert note in words(plot_forest(problem, trees, "state"))


@pytest.mark.parametrize("value", [0.0, 2.5, np.nan, 1e300])
def test_constant_and_hopeless_draws_do_not_stop_a_picture(problem, value):
    change = {v: lambda array: np.full_like(array, value) for v in ("beta", "beta_state", "sigma")}
    tree = make_tree(problem, change=change)
    figure = plot_trace(problem, {"a": tree})
    figure.canvas.draw()
    lines = figure.axes[0].lines
    assert [line.get_xdata()[0] for line in lines] == ([] if np.isnan(value) else [value])
    plot_forest(problem, {"a": tree}, "county").canvas.draw()


def test_one_draw_in_one_chain_is_drawn(problem):
    plot_trace(problem, {"a": make_tree(problem, chains=1, draws=1)}).canvas.draw()


# --- forest


def test_forest_has_a_panel_per_effect_and_an_interval_pair_per_engine(problem, trees):
    figure = plot_forest(problem, trees, "county")
    assert [axis.get_title() for axis in figure.axes] == ["Intercept", "x"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["y", "y per x"]
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 12]
    assert len(points) == 2
    expected = trees["pymc:nutpie"]["posterior"]["beta_county"][:, :, 0].mean(("chain", "draw"))
    np.testing.assert_allclose(points[0].get_xdata(), expected)


def test_forest_groups_nodes_under_their_parents_in_the_order_of_the_tree(problem, trees):
    axis = plot_forest(problem, trees, "county").axes[0]
    nodes = [f"county {i}" for i in range(4)]
    assert [t.get_text() for t in axis.get_yticklabels()] == [
        "CA",
        *nodes,
        "IL",
        *nodes,
        "NY",
        *nodes,
    ]
    assert axis.yaxis_inverted()


def test_forest_writes_whole_paths_where_parents_have_few_nodes():
    problem = make_problem(counties=1, states=("CA", "IL"))
    axis = plot_forest(problem, {"a": make_tree(problem)}, "county").axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["CA/county 0", "IL/county 0"]


def test_forest_shows_a_selection_and_says_so():
    problem = make_problem(counties=50)
    axis_words = words(
        figure := plot_forest(problem, {"a": make_tree(problem, draws=20)}, "county")
    )
    expected = (
        "60 of 150 nodes, evenly spread by the posterior mean of Intercept; 90 are not shown."
    )
    assert expected in axis_words
    assert len(figure.axes[0].lines[-1].get_xdata()) == 60


def test_intervals_are_equal_tailed_quantiles_of_finite_draws():
    draws = np.append(np.arange(101.0), [np.nan, np.inf]).reshape(1, -1, 1)
    np.testing.assert_allclose(intervals(draws)[:, 0], [5, 25, 75, 95])


def test_forest_refuses_levels_without_coefficients(problem, trees):
    with pytest.raises(SpecError, match="no level 'town'"):
        plot_forest(problem, trees, "town")


def test_population_has_a_panel_per_scalar(problem, trees):
    figure = plot_population(problem, trees)
    assert len(figure.axes) == 7  # beta 2, tau 2 + 2, sigma
    assert len(figure.axes[0].lines) == 2


# --- what all pictures of draws share


@pytest.mark.parametrize("plot", [plot_trace, plot_population])
def test_draws_must_exist_and_be_of_this_problem(plot, problem, trees):
    with pytest.raises(DataError, match="no draws to picture"):
        plot(problem, {})
    other = make_problem(counties=5)
    with pytest.raises(DataError, match="draws of b have 'beta_county'"):
        plot(problem, {**trees, "b": make_tree(other)})
    tree = make_tree(problem)
    tree["posterior"] = tree["posterior"].to_dataset().drop_vars("sigma")
    with pytest.raises(DataError, match="have no variable 'sigma'"):
        plot(problem, {"c": tree})


def test_an_engine_has_one_colour_in_all_pictures(problem, trees):
    rows = [Row("failed", "failed"), fast("pymc:nutpie"), fast("numpyro:nuts")]
    speed, forest = plot_speed(rows), plot_forest(problem, trees, "state")
    by_name = {t.get_text(): t.get_color() for t in speed.axes[0].get_yticklabels()}
    legend = forest.legends[0]
    for text, line in zip(legend.get_texts()[:2], legend.get_lines()[:2], strict=True):
        assert by_name[text.get_text()] == line.get_color()


def test_pictures_do_not_touch_pyplot_or_settings(problem, trees):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with mpl.rc_context({"lines.linewidth": 9, "text.usetex": True}):
        figure = plot_forest(problem, trees, "state")
        assert mpl.rcParams["lines.linewidth"] == 9
    assert dict(mpl.rcParams) == before
    assert not any(text.get_usetex() for text in figure.texts)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_importing_loads_no_matplotlib_and_drawing_no_pyplot():
    code = (
        "import sys, nestor.views.plots; assert 'matplotlib' not in sys.modules\n"
        "import nestor.views.plots.forest, nestor.views.plots.save\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_missing_matplotlib_says_what_to_install(monkeypatch, problem, trees):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for call in (
        lambda: plot_trace(problem, trees),
        lambda: plot_forest(problem, trees, "state"),
        lambda: plot_speed([fast()]),
        lambda: save_all(problem, trees, [], Path()),
    ):
        with pytest.raises(Unsupported, match=r"pip install 'nestor\[plots\]'"):
            call()


# --- speed


def test_speed_prints_rates_and_totals():
    figure = plot_speed([fast("a", ess=1234.5), fast("b", ess=80, transfer_s=0.5)])
    found = words(figure)
    assert {"1,234", "494", "80", "32", "10.0 s"} <= set(found)
    rates = [patch.get_width() for patch in figure.axes[0].patches]
    assert rates == [1234.5, 1234.5 / 2.5, 80, 80 / 2.5]


def test_speed_stacks_phases_and_shows_what_is_not_told_apart():
    bars = plot_speed([fast()]).axes[1].patches
    # 2 + 3 + 4 of 10 seconds are measured
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(0, 2), (2, 3), (5, 4), (9, 1)]
    assert bars[-1].get_hatch()


def test_speed_shows_warmup_and_sampling_together_where_no_more_is_known():
    def pieces(row):
        return [(bar.get_x(), bar.get_width()) for bar in plot_speed([row]).axes[1].patches]

    both = fast(warmup_s=None, sampling_s=None, warmup_and_sampling_s=5.0)
    assert pieces(both) == [(0, 2), (2, 5), (7, 3)]
    assert pieces(fast(warmup_and_sampling_s=7.0)) == pieces(fast())


def test_speed_without_a_total_promises_no_more_than_it_knows():
    assert "at least 9.0 s" in words(plot_speed([fast(total_s=None)]))


@pytest.mark.parametrize(("ratio", "scale"), [(50, "linear"), (51, "log")])
def test_speed_turns_logarithmic_when_values_lie_far_apart(ratio, scale):
    rows = [
        Row("a", "ok", {"sampling_s": 1.0}, {"ess_per_s_sampling": 1.0}),
        Row("b", "ok", {"sampling_s": 1.0}, {"ess_per_s_sampling": float(ratio)}),
    ]
    figure = plot_speed(rows)
    assert figure.axes[0].get_xscale() == scale
    assert figure.axes[1].get_xscale() == "linear"


def test_speed_writes_the_status_of_engines_without_numbers():
    rows = [
        fast("a"),
        Row("b", "timeout", {"total_s": None}, {"ess_per_s_total": None}),
        Row("c", "gates_failed", {"sampling_s": 3.0}, {"ess_per_s_total": np.nan}),
    ]
    figure = plot_speed(rows)
    found = [text.get_text() for text in figure.axes[0].texts]
    assert found[2:] == ["timeout", "gates failed"]
    assert len(figure.axes[0].patches) == 2


def test_speed_needs_a_row():
    with pytest.raises(DataError, match="no engines"):
        plot_speed([])


# --- files


def test_save_all_writes_pngs_and_nothing_else(tmp_path, problem, trees):
    from PIL import Image

    written = save_all(problem, trees, [fast("pymc:nutpie")], tmp_path)
    names = ["trace.png", "forest-state.png", "forest-county.png", "speed.png"]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for path in written:
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
            assert min(image.convert("RGB").getpixel((0, 0))) == 255


def test_save_all_without_draws_writes_the_speed_alone(tmp_path, problem):
    written = save_all(problem, {}, [Row("a", "failed")], tmp_path)
    assert [path.name for path in written] == ["speed.png"]


def test_large_pictures_get_a_palette_in_which_white_stays_white(tmp_path, monkeypatch, problem):
    from PIL import Image

    from nestor.views.plots import save

    monkeypatch.setattr(save, "_LARGE", 1000)
    [path] = save_all(problem, {}, [fast()], tmp_path)
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_odd_labels_are_drawn_as_they_stand(tmp_path):
    level = "st $a$ te\n\u00e9:?"
    spec = ModelSpec(
        outcome="y",
        levels=(Level(name=level, effects=("Intercept",)),),
        effects=("Intercept",),
    )
    states = ["$x$ \\frac{", "two\nlines", "w" * 300] * 3
    problem = Problem(spec, pd.DataFrame({level: states, "y": np.arange(9.0)}))
    trees = {"an $engine$": make_tree(problem)}
    texts = words(plot_forest(problem, trees, level))
    shown = {r"\$x\$ \frac{", "two lines", "w" * 20 + "…" + "w" * 19, r"an \$engine\$"}
    assert shown <= set(texts)
    assert "st \\$a\\$ te \u00e9:?: posterior mean, 50% and 90% intervals" in texts
    written = save_all(problem, trees, [fast("an $engine$")], tmp_path)
    assert written[1].name.startswith("forest-st__a__te_\u00e9__-")


def test_characters_without_a_glyph_give_one_warning(tmp_path):
    problem = make_problem(states=("\U00012000", "\U00012001"))  # cuneiform: not in DejaVu
    with pytest.warns(NestorWarning, match="lack 2 characters") as caught:
        save_all(problem, {"a": make_tree(problem)}, [], tmp_path)
    assert len(caught) == 1


# --- text and numbers


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a$b$", r"a\$b\$"),
        (" a\n\tb ", "a b"),
        ("a\x00b", "a\ufffdb"),
        ("", "(empty)"),
        ("x" * 41, "x" * 20 + "…" + "x" * 19),
    ],
)
def test_label(text, shown):
    assert label(text) == shown


def test_shorten_counts_wide_characters_twice():
    assert columns("日本") == 4
    assert shorten("日本語日本語", 9) == "日本…本語"


def test_file_stems_are_safe_and_different():
    names = ["county", "County", "a b", "a_b", "..", "l\u00e4nder", "x" * 300, "a\ud800"]
    stems = file_stems(names)
    assert stems["county"] == "county"
    assert stems["l\u00e4nder"] == "l\u00e4nder"
    assert stems["a b"].startswith("a_b-")
    assert stems["a_b"] == "a_b"
    assert len({stem.casefold() for stem in stems.values()}) == len(names)
    for stem in stems.values():
        assert len(stem.encode()) < 200
        assert not set(stem) & set('/\\:*?"<>|. \n')


def test_density_integrates_to_one_and_knows_constants():
    rng = np.random.default_rng(0)
    grid, height = density(rng.normal(size=(4, 500)), alone=True)
    # Draws span about 3.3 standard deviations to each side: nearly all mass is on the grid.
    assert np.trapezoid(height, grid) == pytest.approx(1, abs=0.02)
    assert density(np.full((2, 5), 3.0), alone=True) is None
    assert density(np.full((2, 5), np.nan), alone=False) is None


def test_spread_evenly_holds_both_extremes_in_the_given_order():
    picked = spread_evenly(np.array([5.0, 1, 4, 2, 3]), 3)
    # ranks 0, 2, 4 are the values 1, 3, 5 at places 1, 4, 0
    assert list(picked) == [0, 1, 4]


def test_unmixed_is_the_ratio_of_variances():
    draws = np.array([[0.0, 2, 0, 2], [4, 6, 4, 6]])[..., None]
    # means of half-chains 1, 1, 5, 5: variance 4; variance in each 1
    np.testing.assert_allclose(unmixed(draws), [4])
    assert list(unmixed(np.zeros((2, 4, 1)))) == [0]
    assert list(unmixed(np.full((2, 4, 1), np.nan))) == [np.inf]
