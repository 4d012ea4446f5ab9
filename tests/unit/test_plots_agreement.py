"""Pictures of agreement: what is on them and what the words say."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from nestor.agreement.density import DensityCheck
from nestor.agreement.shape import shape_test
from nestor.errors import DataError, Unsupported
from nestor.stats.diagnostics import summaries
from nestor.views.plots import plot_densities, plot_differences, plot_rank_ecdf

pytest.importorskip("matplotlib")

NAMES = ("numpyro:nuts", "pymc:nutpie")


def draws(seed, n_scalar, n_draw=250):
    return np.random.default_rng(seed).normal(size=(4, n_draw, n_scalar))


def scalars(n_node):
    labels = ["beta[x]", "sigma", *(f"beta_county[county {i}, x]" for i in range(n_node))]
    return labels, ["population", "family", *["county"] * n_node]


def words(figure):
    """Every text that a reader sees."""
    figure.canvas.draw()
    found = [text.get_text() for text in figure.texts]
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    for axis in (axis for axis in figure.axes if axis.get_visible()):
        found += [axis.get_title(loc) for loc in ("left", "center")]
        found += [text.get_text() for text in (*axis.texts, *axis.get_yticklabels())]
        found += [axis.get_xlabel()]
    return [text for text in found if text]


def differences(a, b, n_node, **options):
    labels, groups = scalars(n_node)
    return plot_differences(NAMES, summaries(a), summaries(b), labels, groups, **options)


def dots(axis, colour):
    return sum(
        len(line.get_xdata())
        for line in axis.lines
        if line.get_color() == colour and line.get_marker() == "o"
    )


# --- differences


def test_a_few_scalars_are_all_named():
    figure = differences(draws(1, 6), draws(2, 6), 4, verdict="AGREE")
    found = words(figure)
    assert {"population", "family", "county", "sigma", "beta_county[county 3, x]"} <= set(found)
    assert "AGREE: 6 of 6 scalars are shown to be inside the margin." in found
    assert [axis.get_title("left") for axis in figure.axes] == ["Means", "Standard deviations"]


def test_intervals_are_the_standardized_differences_and_their_errors():
    a, b = summaries(draws(3, 3)), summaries(draws(4, 3))
    figure = differences(draws(3, 3), draws(4, 3), 1)
    sd = np.sqrt((a.sd**2 + b.sd**2) / 2)
    d = (a.mean - b.mean) / sd
    half = 1.6448536 * np.hypot(a.mcse[0], b.mcse[0]) / sd
    segments = np.concatenate(
        [c.get_segments() for c in figure.axes[0].collections if len(c.get_paths())]
    )
    np.testing.assert_allclose(segments[:, 0, 0], d - half, rtol=1e-6)
    np.testing.assert_allclose(segments[:, 1, 0], d + half, rtol=1e-6)
    log_half = 1.6448536 * np.hypot(a.mcse[1] / a.sd, b.mcse[1] / b.sd)
    segments = np.concatenate(
        [c.get_segments() for c in figure.axes[1].collections if len(c.get_paths())]
    )
    np.testing.assert_allclose(segments[:, 0, 0], np.log(a.sd / b.sd) - log_half, rtol=1e-6)


def test_of_many_scalars_all_are_drawn_and_the_worst_named():
    a, b = draws(5, 402, 400), draws(6, 402, 400)
    a[..., 300] += 0.6
    a[..., 200] += 5.0
    figure = differences(a, b, 400)
    found = words(figure)
    assert "county: 400 scalars" in found
    named = [text for text in found if text.startswith("beta_county")]
    assert named[:2] == ["beta_county[county 198, x]", "beta_county[county 298, x]"]
    assert len(named) == 3
    assert any("outside as estimated: 2" in text for text in found)
    # in the curve and by name; the shift of 5 sd is an arrow at the edge instead
    assert dots(figure.axes[0], "#D55E00") == 2
    arrows = [line for line in figure.axes[0].lines if line.get_marker() == ">"]
    assert [len(line.get_xdata()) for line in arrows] == [1, 1]


def test_scalars_without_spread_are_counted_and_marked():
    a, b = draws(7, 4), draws(8, 4)
    a[..., 1] = 3.0
    found = words(differences(a, b, 2))
    assert "1 cannot be compared: without a spread or an error." in found
    assert found.count("cannot be compared") == 2  # in both panels
    everything = words(differences(np.ones_like(a), np.ones_like(a), 2))
    assert "0 of 4 scalars are shown to be inside the margin." in everything


def test_long_names_stay_apart():
    a, b = summaries(draws(9, 3)), summaries(draws(10, 3))
    long = "x" * 60
    labels = [f"beta_state[{long} {i}$/{long}, Intercept]" for i in range(3)]
    figure = plot_differences(NAMES, a, b, labels, ["state"] * 3)
    texts = [t.get_text() for t in figure.axes[0].get_yticklabels() if "beta" in t.get_text()]
    assert len(set(texts)) == 3
    assert all(r"\$" in text and len(text) < 70 for text in texts)


def test_what_does_not_belong_together_is_refused():
    a = summaries(draws(11, 3))
    with pytest.raises(DataError, match="2 labels"):
        plot_differences(NAMES, a, a, ["a", "b"], ["g"] * 2)
    with pytest.raises(DataError, match="3 scalars with 1 groups"):
        plot_differences(NAMES, a, a, ["a", "b", "c"], ["g"])


# --- rank ECDFs


def shapes(a, b):
    labels = [f"s{i}" for i in range(a.shape[2])]
    return labels, shape_test(a, b, summaries(a), summaries(b), labels)


def test_the_least_likely_ecdfs_are_drawn_first_and_leave_the_band():
    a, b = draws(12, 20), draws(13, 20)
    a[..., 7] += 1.0
    labels, shape = shapes(a, b)
    figure = plot_rank_ecdf(NAMES, a, b, labels, shape)
    assert len(figure.axes) == 9
    assert figure.axes[0].get_title("left") == "s7"
    found = words(figure)
    assert any(text.startswith("Different in distribution: 1 of 20 scalars") for text in found)
    line = figure.axes[0].lines[-1]
    drawn = np.asarray(line.get_ydata())
    assert drawn.min() == pytest.approx(shape.difference[7])
    assert line.get_color() == "#D55E00"
    assert figure.axes[1].lines[-1].get_color() != "#D55E00"


def test_panels_are_as_many_as_scalars_and_other_places_stay_empty():
    a, b = draws(14, 5), draws(15, 5)
    labels, shape = shapes(a, b)
    figure = plot_rank_ecdf(NAMES, a, b, labels, shape)
    assert [axis.get_visible() for axis in figure.axes] == [True] * 5 + [False]
    found = words(figure)
    assert "share of the pooled draws" in found
    assert any(text.startswith("None of 5 scalars") for text in found)


def test_without_tests_there_are_no_ecdfs():
    a = np.ones((4, 50, 2))
    labels, shape = shapes(a, a)
    with pytest.raises(DataError, match="no scalar's distributions were compared"):
        plot_rank_ecdf(NAMES, a, a, labels, shape)
    with pytest.raises(DataError, match="with 1 labels"):
        plot_rank_ecdf(NAMES, a, a, labels[:1], shape)


# --- densities


def test_densities_are_counted_against_the_tolerance():
    reference = (-100.0, -200.0, 5.0, -3.0)
    checks = [
        DensityCheck("good", 1e-8, reference, reference),
        DensityCheck("bad", 1e-8, reference, (-100.0, -201.0, float("nan"), -3.0 * (1 + 1e-12))),
    ]
    found = words(plot_densities(checks))
    assert {"good", "bad"} <= set(found)
    assert "same at all 4 points\nlargest difference 0" in found
    assert "differs at 2 of 4 points\nlargest not finite" in found
    axis = plot_densities(checks).axes[0]
    wrong = [line for line in axis.lines if line.get_marker() == "D"]
    assert [len(line.get_xdata()) for line in wrong] == [0, 2]
    places = np.concatenate([np.asarray(line.get_xdata()) for line in axis.lines])
    assert np.isfinite(places).all()
    assert places.size == 8


def test_no_densities_make_no_picture():
    with pytest.raises(DataError, match="no log densities"):
        plot_densities([])


# --- matplotlib


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Unsupported, match=r"pip install 'nestor\[plots\]'"):
        plot_densities([DensityCheck("a", 1e-8, (1.0,), (1.0,))])


def test_importing_the_module_loads_no_matplotlib():
    code = "import sys, nestor.views.plots; sys.exit('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ))
    assert done.returncode == 0
