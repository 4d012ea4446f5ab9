"""Pictures of a calibration study."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from nestor import ModelSpec, Problem
from nestor.backend import SamplerConfig
from nestor.calibration.result import Calibration
from nestor.calibration.tasks import Record
from nestor.engines.contender import Contender
from nestor.engines.formulation import Formulation
from nestor.errors import DataError
from nestor.posterior.quantities import ComparedQuantities
from nestor.views.plots.calibration import plot_ranks, save_rank_plots

L = 31


def _study(problem, n=60, wrong=(), folder=None):
    """Uniform ranks, but for some quantities whose ranks are all low."""
    names = ComparedQuantities(problem)
    rng = np.random.default_rng(1)
    ranks = rng.integers(0, L + 1, (n, len(names)))
    for label in wrong:
        ranks[:, names.labels.index(label)] = rng.integers(0, L // 2, n)
    records = tuple(
        Record(i, "ok", ranks=tuple(int(r) for r in row), ess=99.0, draws=10)
        for i, row in enumerate(ranks)
    )
    formulation = Formulation.parse([], problem.spec.level_names)
    contender = Contender("x", "y", formulation, "cpu", "float64", "sequential")
    return Calibration(
        problem, contender, SamplerConfig(), "prior", L, records, True, {"x": "1"}, folder
    )


def _titles(picture):
    return [axis.get_title(loc="left") for axis in picture.axes if axis.get_visible()]


def test_each_scalar_that_belongs_to_no_node_has_a_panel(small_problem):
    picture = plot_ranks(_study(small_problem))
    expected = [v for v in small_problem.scalars.labels if not v.startswith("beta_")]
    assert sorted(_titles(picture)) == sorted([*expected, "log-likelihood"])
    # A curve and two bounds of the band in each.
    assert {len(axis.lines) for axis in picture.axes if axis.get_visible()} == {3}


def test_nodes_share_the_panel_of_their_level_and_effect_and_the_worst_is_named(small_problem):
    label = next(v for v in small_problem.scalars.labels if v.startswith("beta_h[b/x, x"))
    picture = plot_ranks(_study(small_problem, wrong=[label]), nodes=True)
    assert _titles(picture) == [
        "beta_g[Intercept]",
        "beta_g[x]",
        "beta_h[Intercept]",
        "beta_h[x]",
    ]
    (axis,) = (a for a in picture.axes if a.get_title(loc="left") == "beta_h[x]")
    assert "6 nodes, 1 not uniform" in axis.texts[0].get_text()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["b/x"]
    assert to_hex(axis.lines[-1].get_color()) == "#d55e00"
    assert len(axis.lines) == 6 + 2


def test_the_curve_is_the_ecdf_less_the_uniform_one(small_problem):
    study = _study(small_problem)
    (axis,) = (a for a in plot_ranks(study).axes if a.get_title(loc="left") == "log-likelihood")
    x, y = axis.lines[-1].get_data()
    ranks = study.ranks[:, -1]
    assert np.allclose(x, np.arange(1, L + 1) / (L + 1))
    assert np.allclose(y, [(ranks < i).mean() - i / (L + 1) for i in range(1, L + 1)])


def test_scales_of_each_parent_are_laid_over_each_other(small_table):
    spec = ModelSpec.from_formula("y ~ x + (x || g/h)", scale={"h": "parent"})
    picture = plot_ranks(_study(Problem(spec, small_table)))
    (axis,) = (a for a in picture.axes if a.get_title(loc="left") == "tau_h[x]")
    assert "3 parents" in axis.texts[0].get_text()


def test_files_are_written_and_are_pictures(small_problem, tmp_path):
    paths = save_rank_plots(_study(small_problem), tmp_path)
    assert [path.name for path in paths] == ["ranks.png", "ranks-nodes.png"]
    for path in paths:
        with Image.open(path) as image:
            assert image.size[0] > 800
            assert len(image.convert("L").getcolors()) > 20


def test_many_nodes_and_strange_labels(tmp_path):
    n = 600
    table = pd.DataFrame({"g": [f"$x_{i}$ & <b>" for i in range(n)] * 2})
    rng = np.random.default_rng(0)
    problem = Problem(
        ModelSpec.from_formula("y ~ 1 + (1 || g)"), table.assign(y=rng.normal(size=2 * n))
    )
    study = _study(problem, n=25)
    paths = save_rank_plots(study, tmp_path)
    assert len(paths) == 2
    assert all(path.stat().st_size < 2_000_000 for path in paths)


def test_the_user_s_style_is_left_alone(small_problem):
    before = dict(mpl.rcParams)
    plot_ranks(_study(small_problem))
    assert dict(mpl.rcParams) == before


def test_too_few_simulations_are_no_picture(small_problem):
    with pytest.raises(DataError, match="too few simulations"):
        plot_ranks(_study(small_problem, n=5))


def test_without_a_folder_pictures_have_no_place(small_problem, tmp_path):
    with pytest.raises(DataError, match="say into which folder"):
        _study(small_problem).save_plots()
    assert len(_study(small_problem, folder=tmp_path).save_plots()) == 2
