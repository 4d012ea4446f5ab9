"""Pictures of benchmarks."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from of_table import aggregate, crossovers, growth
from PIL import Image

from nestor.bench.statistics import BenchStatistics
from nestor.views.plots import save_bench_plots
from nestor.views.plots.bench_curves import growth_curves, rate_curves
from nestor.views.plots.bench_pictures import track_tables
from nestor.views.plots.bench_times import phase_bars, time_bars

NUTPIE, CPU = "pymc:nutpie@noncentered", "numpyro:nuts@noncentered"
GPU = f"{CPU},gpu,vectorized"
SIZES = (1e3, 1e4, 1e5)


def _track(table):
    (track,) = track_tables(BenchStatistics(table))
    return track


def _widths(axis):
    return [bar.get_width() for bar in axis.patches]


def _texts(axis):
    return [text.get_text() for text in axis.texts]


def test_bars_are_as_long_as_the_medians_and_whiskers_as_the_intervals(bench_table):
    table = bench_table([NUTPIE, CPU])
    (axis,) = time_bars(_track(table)).axes
    expected = [
        s.estimates[m] for s in aggregate(table) for m in ("time_to_ess_s", "time_to_ess_warm_s")
    ]
    assert _widths(axis) == pytest.approx([one.value for one in expected])
    whiskers = [
        container.lines[2][0].get_segments()[0][:, 0]
        for container in axis.containers
        if hasattr(container, "lines")
    ]
    assert np.allclose(whiskers, [(one.low, one.high) for one in expected])
    assert [text.get_text() for text in axis.get_yticklabels()] == [NUTPIE, CPU]


def test_a_censored_time_is_hatched_and_says_how_the_runs_ended(bench_table, end_run):
    track = _track(bench_table(change=lambda row: end_run(row, "out_of_memory", at=60.0)))
    (axis,) = time_bars(track).axes
    assert axis.patches[0].get_hatch()
    assert axis.patches[0].get_width() == 60
    assert "> 60.0 s, 5 of 5 out of memory" in _texts(axis)


def test_a_wrong_answer_and_a_skipped_one_have_no_bar(bench_table, end_run):
    def change(row):
        if row["contender"] == GPU:
            return end_run(row, "skipped", "no GPU")
        return row | {"verdict": "DISAGREE"}

    track = _track(bench_table([NUTPIE, GPU], change=change))
    for draw in (time_bars, phase_bars):
        (axis,) = draw(track).axes
        assert axis.patches == [] or not any(_widths(axis))
        assert _texts(axis) == ["disagrees with yardstick: no speed", "5 skipped: no GPU"]


def test_runs_that_failed_at_once_are_a_note(bench_table, end_run):
    track = _track(bench_table(change=lambda row: end_run(row, "failed", "no luck", None)))
    assert _texts(time_bars(track).axes[0]) == ["5 failed: no luck"]


def test_bars_have_a_zero_however_far_they_lie_apart(bench_table):
    def change(row):
        by = 0.001 if row["contender"] == NUTPIE else 1
        return row | {"time_to_ess_s": by * row["time_to_ess_s"]}

    for draw in (time_bars, phase_bars):
        (axis,) = draw(_track(bench_table([NUTPIE, CPU], change=change))).axes
        assert (axis.get_xscale(), axis.get_xlim()[0]) == ("linear", 0)
        assert axis.get_xlabel() == "seconds"


def test_the_caption_speaks_of_what_is_there(bench_table, end_run):
    def caption(*args, **kwargs):
        picture = time_bars(_track(bench_table(*args, **kwargs)))
        return " ".join(text.get_text() for text in picture.texts)

    assert "Median of the runs and 95% interval; compile" in caption()
    assert "interval" not in caption(seeds=(1, 2))
    assert "Hatched" not in caption()
    late = caption(change=lambda row: end_run(row, "timeout"))
    assert "Hatched" in late
    assert "interval" not in late
    # What is not drawn has no whisker: of the two contenders one is wrong and one has a single run.
    wrong = caption(
        [NUTPIE, CPU],
        change=lambda row: (
            row | {"verdict": "DISAGREE"}
            if row["contender"] == CPU
            else (row if row["seed"] == 1 else None)
        ),
    )
    assert "interval" not in wrong


def test_phases_are_stacked_cold_and_warm(bench_table):
    table = bench_table()
    (axis,) = phase_bars(_track(table)).axes
    cold = table[
        [
            "import_s",
            "upload_s",
            "compile_s",
            "warmup_s",
            "sampling_s",
            "postprocess_s",
            "transfer_s",
        ]
    ]
    warm = cold.assign(compile_s=table.warm_compile_s)
    assert _widths(axis) == pytest.approx([*cold.median(), *warm.median()])
    ends = [bar.get_x() + bar.get_width() for bar in axis.patches]
    assert ends[6] == pytest.approx(cold.median().sum())


def test_the_largest_size_that_anybody_managed_is_shown(bench_table, end_run):
    def change(row):
        return end_run(row, "timeout") if row["sweep_value"] == 1e5 else row

    track = _track(bench_table(sweep="rows", sizes=SIZES, change=change))
    assert {one.key.sweep_value for one in track.at_largest} == {1e4}
    assert any("rows 10,000" in text.get_text() for text in time_bars(track).texts)


def test_growth_has_the_exponents_in_its_legends_and_marks_the_crossover(bench_table):
    table = bench_table([CPU, GPU], sweep="rows", sizes=SIZES)
    fits, crossings = growth(table), crossovers(table)
    picture = growth_curves(_track(table), fits, crossings)
    first = picture.axes[0]
    of_time = [one for one in fits if one.metric == "time_to_ess_s"]
    assert [text.get_text() for text in first.get_legend().get_texts()] == [
        f"{one.exponent:.2f} ({one.low:.2f} to {one.high:.2f})" for one in of_time
    ]
    curve = first.lines[0]
    assert list(curve.get_xdata()) == list(SIZES)
    medians = table[table.contender == CPU].groupby("sweep_value").time_to_ess_s.median()
    assert np.allclose(curve.get_ydata(), medians)
    assert any("GPU quicker from\nrows = " in text for text in _texts(first))
    assert {axis.get_xscale() for axis in picture.axes} == {"log"}


@pytest.mark.parametrize(
    ("sizes", "labels"),
    [
        # Of 1, 2 and 5 times powers of ten only 10 lies between 8 and 18.
        ((8, 12, 18), ["8", "12", "18"]),
        ((1e2, 1e3, 1e5), ["100", "1,000", "10,000", "100,000"]),
    ],
)
def test_sizes_are_labelled_where_there_are_too_few_round_numbers(bench_table, sizes, labels):
    picture = growth_curves(_track(bench_table(sweep="rows", sizes=sizes)), [], [])
    picture.draw_without_rendering()
    for axis in picture.axes:
        low, high = axis.get_xlim()
        shown = [
            t.label1.get_text() for t in axis.xaxis.get_major_ticks() if low <= t.get_loc() <= high
        ]
        assert len(shown) >= 2
        assert shown == labels


def test_curves_speak_of_intervals_only_where_there_are_some(bench_table):
    for seeds, words in (((1, 2), "Medians;"), ((1, 2, 3), "Medians and 95% intervals;")):
        track = _track(bench_table(sweep="rows", sizes=SIZES, seeds=seeds))
        assert any(words in text.get_text() for text in growth_curves(track, [], []).texts)


def test_a_censored_point_is_open(bench_table, end_run):
    def change(row):
        return end_run(row, "timeout", at=99.0) if row["sweep_value"] == 1e5 else row

    table = bench_table(sweep="rows", sizes=SIZES, change=change)
    first = growth_curves(_track(table), [], []).axes[0]
    (point,) = (line for line in first.lines if line.get_markerfacecolor() == "white")
    assert point.get_xydata().tolist() == [[1e5, 99]]


def test_a_contender_has_one_pen_in_all_pictures(bench_table):
    table = bench_table([NUTPIE, CPU], sweep="chains", sizes=(1, 4, 16))
    track = _track(table)
    colour = to_hex(track.looks[CPU].colour)
    bars = time_bars(track).axes[0].patches
    assert to_hex(bars[2].get_facecolor()) == colour
    for picture in (growth_curves(track, [], []), rate_curves(track, "chains")):
        # Curves come in the order of the contenders.
        curves = [line for line in picture.axes[0].lines if line.get_label() in (NUTPIE, CPU)]
        assert to_hex(curves[1].get_color()) == colour


def test_rates_are_over_cores_where_they_vary_within_a_contender(bench_table, tmp_path):
    def change(row):
        return row | {"cores": row["seed"] % 2 + 1}

    table = bench_table(seeds=(1, 2, 3, 4), change=change)
    axis = rate_curves(_track(table), "cores").axes[1]
    curve = axis.lines[0]
    assert list(curve.get_xdata()) == [1, 2]
    assert np.allclose(curve.get_ydata(), table.groupby("cores").ess_per_s.median())
    names = [path.name for path in save_bench_plots(BenchStatistics(table), tmp_path)]
    assert names == ["time-defaults.png", "phases-defaults.png", "rates-cores-defaults.png"]


def test_what_applies_is_written(bench_table, tmp_path):
    table = bench_table(
        [CPU, GPU], sweep="chains", sizes=(4, 16, 64), tracks=("defaults", "matched")
    )
    paths = save_bench_plots(BenchStatistics(table), tmp_path)
    assert [path.name for path in paths] == [
        f"{kind}-{track}.png"
        for track in ("defaults", "matched")
        for kind in ("time", "phases", "growth", "rates-chains")
    ]
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 300
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_scenarios_of_one_table_have_files_of_their_own(bench_table, tmp_path):
    both = pd.concat([bench_table(), bench_table().assign(scenario="b/../c")])
    names = [path.name for path in save_bench_plots(BenchStatistics(both), tmp_path)]
    assert names[0] == "chem-time-defaults.png"
    assert all("/" not in name for name in names)
    assert len(set(names)) == 4


def test_labels_are_drawn_as_they_stand(bench_table, tmp_path):
    table = bench_table(["a:b@$x$", "<b>"]).assign(scenario="$\\frac{$", message="$")
    assert len(save_bench_plots(BenchStatistics(table), tmp_path)) == 2


def test_tables_without_results_are_drawn_too(bench_table, end_run, tmp_path):
    for change in (
        lambda row: end_run(row, "skipped", "x"),
        lambda row: end_run(row, "failed", "x", None),
    ):
        table = bench_table(sweep="rows", sizes=SIZES, change=change)
        assert len(save_bench_plots(BenchStatistics(table), tmp_path)) == 2
    assert save_bench_plots(BenchStatistics(bench_table(seeds=())), tmp_path) == []


def test_a_panel_without_a_figure_says_so(bench_table):
    table = bench_table(sweep="rows", sizes=SIZES)
    table["peak_bytes"] = pd.array([None] * len(table), dtype="Int64")
    last = growth_curves(_track(table), growth(table), []).axes[3]
    assert _texts(last) == ["not known"]
