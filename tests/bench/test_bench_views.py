"""What a benchmark says in a terminal."""

from io import StringIO

import pytest
from of_table import aggregate, crossovers, growth
from rich.console import Console

from nestor.bench.bootstrap import MedianInterval, Ratio
from nestor.bench.environment import is_loaded
from nestor.bench.regression import compare_tables
from nestor.bench.statistics import BenchStatistics
from nestor.bench.table import load_note
from nestor.views.format import duration, interval_text, number
from nestor.views.sentences import reasons_text
from nestor.views.terminal.bench import (
    crossover_view,
    groups_view,
    growth_view,
    notes_view,
    print_figures,
    time_lines,
)
from nestor.views.terminal.bench_regression import ratio_text, regression_view

NUTPIE, CPU = "pymc:nutpie@noncentered", "numpyro:nuts@noncentered"
GPU = f"{CPU},gpu,vectorized"
SIZES = (1e3, 1e4, 1e5)


def _raw(view, width):
    stream = StringIO()
    Console(file=stream, width=width, color_system=None, highlight=False).print(view)
    return stream.getvalue()


def _text(view, width=240):
    return "\n".join(line.rstrip() for line in _raw(view, width).splitlines())


def _lines(text, start):
    return [line for line in text.splitlines() if line.lstrip().startswith(start)]


def test_a_line_per_group_says_what_its_runs_cost(bench_table):
    table = bench_table([NUTPIE, CPU])
    text = _text(groups_view(aggregate(table)))
    (line,) = _lines(text, NUTPIE)
    rows = table[table.contender == NUTPIE]
    times = rows.time_to_ess_s
    for expected in (
        "AGREE",
        "5/5",
        duration(times.median()),
        number(rows.ess_per_gradient.median()),
        f"{rows.peak_bytes.median() / 1e6:,.0f}",
    ):
        assert f" {expected} " in line
    below = text.splitlines()[text.splitlines().index(line) + 1]
    # The interval of five runs is their range.
    assert f"({times.min():.1f} to {times.max():.1f})" in below
    assert "to 400 ESS" in text
    assert "Verdicts against yardstick." in text


def test_each_track_has_a_table_and_sizes_go_up(bench_table):
    text = _text(
        groups_view(
            aggregate(bench_table([CPU], sweep="rows", sizes=SIZES, tracks=("defaults", "matched")))
        )
    )
    assert [line for line in text.splitlines() if line.startswith("chem")] == [
        "chem, defaults",
        "chem, matched",
    ]
    sizes = [line.split()[0] for line in text.splitlines() if CPU in line]
    assert sizes == ["1,000", "10,000", "100,000"] * 2


def test_a_wrong_answer_has_no_speed(bench_table):
    wrong = {"verdict": "DISAGREE", "reason": "sigma differs"}
    (line,) = _lines(
        _text(groups_view(aggregate(bench_table(change=lambda row: row | wrong)))), NUTPIE
    )
    _, verdict, runs, *figures = line.split()
    assert (verdict, runs) == ("DISAGREE", "5/5")
    cold, warm, compile_s, unit, *rates = figures[:8]
    assert (cold, warm, unit) == ("-", "-", "s")
    assert float(compile_s) > 0
    assert rates == ["-"] * 4
    assert float(figures[8]) > 0  # memory


def test_censored_times_and_bounds_are_marked(bench_table, end_run):
    late = bench_table(change=lambda row: end_run(row, "timeout", at=60.0))
    assert "> 60.0 s" in _text(groups_view(aggregate(late)))
    bound = bench_table(change=lambda row: row | {"time_is_bound": True})
    assert "≤ " in _text(groups_view(aggregate(bound)))
    assert time_lines(MedianInterval(None, None, None, 3, 3, None)) == "not reached"
    assert time_lines(MedianInterval(None, None, None, 0, 0, None)) == "-"


def test_a_narrow_terminal_gets_a_column_per_group_and_a_table_per_size(bench_table):
    table = bench_table([NUTPIE, GPU], sweep="rows", sizes=SIZES)
    text = _text(groups_view(aggregate(table)), width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.count("gradients/s") == 3
    assert [line.split()[1] for line in _lines(text, "rows ")] == ["1,000", "10,000", "100,000"]
    assert len(_lines(text, "verdict")[0].split()) == 3


ENGINES = ("pymc:nutpie", "pymc:pymc", "pymc:numpyro", "numpyro:nuts", "numpyro:laplace-nuts")
MANY = [
    *(f"{engine}@{words}" for engine in ENGINES for words in ("noncentered", "centered")),
    *(f"numpyro:nuts@{words},gpu,vectorized" for words in ("noncentered", "centered", "marginal")),
]
FOLDED = {
    MANY[-3]: "numpyro:nuts @noncentered, gpu,vectorized",
    MANY[-2]: "numpyro:nuts @centered,gpu, vectorized",
    MANY[-1]: "numpyro:nuts @marginal,gpu, vectorized",
}
LONG = {"ess_quantity": "beta_level2[level1-3/level2-1, Intercept]"}
WORDS = {"AGREE", "DISAGREE", "INCONCLUSIVE"}


def _every_third(row):
    verdict = ("AGREE", "DISAGREE", "INCONCLUSIVE")[MANY.index(row["contender"]) % 3]
    return row | {"verdict": verdict}


def _pieces(contenders):
    """What names may be folded into: lines of 14 characters, broken before ``@`` and after ``,``."""
    return [
        piece for name in contenders for piece in FOLDED.get(name, name.replace("@", " @")).split()
    ]


@pytest.mark.parametrize(
    ("width", "contenders", "more", "tables"),
    [
        (160, MANY, {}, 1),  # a line per group, with folded names
        (160, MANY, LONG, 1),
        (120, MANY, LONG, 4),
        (60, MANY[-3:], LONG, 3),
        (60, MANY[-3:], {}, 2),
    ],
)
def test_names_and_verdicts_are_never_broken(bench_table, width, contenders, more, tables):
    table = bench_table(contenders, change=lambda row: _every_third(row) | more)
    text = _text(groups_view(aggregate(table)), width)
    assert max(map(len, text.splitlines())) <= width
    found = text.split()
    assert found.count("verdict") == tables
    assert {
        word for word in found if word.isupper() and not word.startswith(("ESS", "MB"))
    } == WORDS
    assert sum(found.count(word) for word in WORDS) == len(contenders)
    pieces = _pieces(contenders)
    assert sorted(word for word in found if word in pieces) == sorted(pieces)


def test_the_quantity_is_folded_where_a_reader_would(bench_table):
    table = bench_table([NUTPIE, GPU], change=lambda row: row | LONG)
    text = _text(groups_view(aggregate(table)), 60)
    start = next(i for i, line in enumerate(text.splitlines()) if "smallest ESS of" in line)
    assert [line.split()[-1] for line in text.splitlines()[start : start + 4]] == [
        "beta_level2",
        "[level1-3/level2-1,",
        "Intercept]",
        "(bulk)",
    ]


def test_figures_without_an_interval_are_told_with_the_runs_that_are_needed(bench_table):
    larger = bench_table(seeds=(1, 2), change=lambda row: row | {"peak_bytes": 315_000_000})
    old = bench_table(seeds=(1,), change=lambda row: row | {"peak_bytes": 277_000_000})
    text = _text(regression_view(compare_tables(old, larger)), 300)
    assert "1.14 (no interval: 1 run)" in text
    assert "not judged" in text
    assert "5 of 5 figures have no interval" in text
    assert "needed are 2 more of the old ones and 1 more of the new ones" in text
    assert text.splitlines()[-1].startswith("INCONCLUSIVE  0 of 5 figures")


def test_what_an_interval_leaves_open_is_told(bench_table):
    noisy = bench_table(noise=0.4, stream=3)
    text = _text(regression_view(compare_tables(bench_table(noise=0.4), noisy)), 300)
    assert "may be so by more than 1.1 times" in text


@pytest.mark.parametrize("width", [240, 160, 60])
def test_lines_of_a_file_have_no_trailing_blanks(bench_table, end_run, width):
    table = bench_table([CPU, GPU], sweep="rows", sizes=SIZES)
    late = bench_table(
        [CPU, GPU], sweep="rows", sizes=SIZES, change=lambda r: end_run(r, "timeout")
    )
    for view in (
        groups_view(aggregate(table)),
        notes_view(aggregate(late)),
        growth_view(growth(table)),
        regression_view(compare_tables(table, late)),
    ):
        lines = _raw(view, width).splitlines()
        assert any(lines)
        assert lines == [line.rstrip() for line in lines]


def test_a_terminal_shows_the_same_lines(bench_table):
    view = groups_view(aggregate(bench_table([CPU, GPU])))
    stream = StringIO()
    Console(file=stream, width=160, color_system=None, force_terminal=True).print(view)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert lines == _raw(view, 160).splitlines()


def test_chains_and_cores_are_told_where_they_vary(bench_table):
    def change(row):
        return row | {"cores": row["seed"], "seed": 1}

    text = _text(groups_view(aggregate(bench_table(seeds=(1, 2), change=change))))
    assert "cores" in text
    assert "chains" not in text
    assert "cores 2" in _text(groups_view(aggregate(bench_table(seeds=(1, 2), change=change))), 60)


def test_notes_say_why_once_for_all_sizes(bench_table, end_run):
    def change(row):
        if row["contender"] == GPU:
            return end_run(row, "skipped", "no [red]GPU[/red] here")
        if row["sweep_value"] == 1e5:
            return end_run(row, "out_of_memory", "stopped at 3 GB")
        return row | {"verdict": "INCONCLUSIVE", "reason": "too few draws"}

    table = bench_table([CPU, GPU], sweep="rows", sizes=SIZES, change=change)
    assert _text(notes_view(aggregate(table))).splitlines() == [
        f"{CPU}  INCONCLUSIVE: too few draws  (defaults; rows 1,000, 10,000; 10 runs)",
        f"{GPU}  skipped: no [red]GPU[/red] here  (defaults; rows 1,000, 10,000, 100,000; 15 runs)",
        f"{CPU}  out of memory: stopped at 3 GB  (defaults; rows 100,000; 5 runs)",
    ]


def _gates_failed(row):
    """A run as `judge` sees it: what its gates say is also why it is inconclusive."""
    gates = f"R-hat 1.{row['seed']}2 of sigma is not below 1.01; bulk ESS 90 of sigma is below 400"
    reason = "; ".join(f"{row['contender']}: {part}" for part in gates.split("; "))
    ended = {"status": "gates_failed", "message": gates}
    return row | ended | {"verdict": "INCONCLUSIVE", "reason": reason}


def test_failed_gates_are_told_once(bench_table):
    text = _text(notes_view(aggregate(bench_table(change=_gates_failed))))
    assert text == (
        f"{NUTPIE}  gates failed: R-hat 1.12 of sigma is not below 1.01; bulk ESS 90 of sigma is below "
        "400; and 4 more  (defaults; 5 runs)"
    )


def test_beside_failed_gates_what_else_is_inconclusive_is_told(bench_table):
    def change(row):
        if row["seed"] < 3:
            return _gates_failed(row)
        return row | {"verdict": "INCONCLUSIVE", "reason": f"worst: {row['seed']}"}

    first, second = _text(notes_view(aggregate(bench_table(change=change)))).splitlines()
    assert first.startswith(f"{NUTPIE}  gates failed: R-hat 1.12")
    assert first.endswith("; and 1 more  (defaults; 2 runs)")
    assert second == f"{NUTPIE}  INCONCLUSIVE: worst: 3; and 2 more  (defaults; 3 runs)"


def test_a_long_reason_is_cut_and_stays_on_one_line():
    assert reasons_text(["a\n  b", "a b", "", "c"]) == "a b; and 1 more"
    assert reasons_text(["", ""]) == ""
    cut = reasons_text(["x" * 500])
    assert (len(cut), cut[-1]) == (200, "…")
    assert reasons_text(["x" * 200]) == "x" * 200


def test_growth_is_a_line_per_metric_and_contender(bench_table):
    found = growth(bench_table([CPU, GPU], sweep="rows", sizes=SIZES))
    text = _text(growth_view(found), 160)
    assert "chem, defaults: cost grows as rows to the power of" in text
    lines = [line.split() for line in text.splitlines() if line.startswith(f"  {CPU} ")]
    assert len(lines) == 5
    (one,) = (o for o in found if o.metric == "sampling_s_per_gradient" and o.contender == CPU)
    assert lines[0][1:5] == [f"{one.exponent:.2f}", f"{one.low:.2f}", "to", f"{one.high:.2f}"]


def test_where_a_gpu_pays_is_a_sentence(bench_table):
    def change(row):
        return row | {
            "time_to_ess_s": 3e-2
            * row["sweep_value"] ** (0.5 if row["device"] == "gpu" else 1)
            * (30 if row["device"] == "gpu" else 1)
        }

    # 0.03 n and 0.9 sqrt(n) are equal where sqrt(n) = 30; at 100 the ratio is 1/3, at 1e4 10/3.
    table = bench_table([CPU, GPU], sweep="rows", sizes=(1e2, 1e4), change=change)
    text = _text(crossover_view(crossovers(table)[:1]))
    assert text == (
        f"chem, defaults, time to ESS, cold: {GPU} against {CPU}: quicker from about rows = 900 on "
        "(measured at 100 and 10,000). It is 3 times as slow at 100, 3.33 times as fast at 10,000."
    )


def test_cores_are_told_where_the_gpu_is_in_another_machine(bench_table):
    def change(row):
        return row | {"cores": 16 if row["device"] == "gpu" else 1}

    table = bench_table([CPU, GPU], sweep="rows", sizes=SIZES, change=change)
    text = _text(crossover_view(crossovers(table)[:1]))
    assert f"{GPU} (16 cores) against {CPU} (1 core): " in text


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (0.5, "quicker from the smallest size on (rows = 1,000)"),
        (2, "never quicker up to rows = 100,000"),
    ],
)
def test_that_a_gpu_pays_always_or_never_is_one_too(bench_table, factor, words):
    def change(row):
        seconds = row["sweep_value"] * (factor if row["device"] == "gpu" else 1)
        return row | {"time_to_ess_s": seconds}

    table = bench_table([CPU, GPU], sweep="rows", sizes=SIZES, change=change)
    assert words in _text(crossover_view(crossovers(table)[:1]))


def test_regressions_are_told_with_their_intervals(bench_table, end_run):
    def slow(row):
        if row["contender"] == CPU:
            return end_run(row, "failed", "no [bold]luck")
        return row | {"compile_s": 2 * row["compile_s"]}

    old = bench_table([NUTPIE, CPU, GPU])
    new = bench_table([NUTPIE, CPU], stream=1, change=slow).assign(cpu="Model B")
    found = compare_tables(old, new)
    text = _text(regression_view(found))
    (change,) = found.worse
    assert f"{number(change.ratio.value)} ({number(change.ratio.low)} to" in text
    assert "was ok, is failing: no [bold]luck" in text
    assert f"chem, defaults, {GPU}: in the old table only, not judged" in text
    assert "warning: CPU: Model A before, Model B after." in text
    assert text.splitlines()[-1].startswith("REGRESSION  1 of ")


def test_what_was_measured_and_is_skipped_now_is_told(bench_table, end_run):
    def skip(row):
        return end_run(row, "skipped", "no GPU") if row["contender"] == GPU else row

    text = _text(
        regression_view(
            compare_tables(bench_table([CPU, GPU]), bench_table([CPU, GPU], change=skip))
        )
    )
    line, word = text.splitlines()
    assert line == f"chem, defaults, {GPU}, chains 4, cores 2: was measured, is skipped now: no GPU"
    assert word.startswith("REGRESSION  0 of 5 figures")


def test_reasons_of_a_regression_are_cut_as_well(bench_table, end_run):
    new = bench_table(change=lambda row: end_run(row, "failed", f"{row['seed']} " + "x" * 500))
    line, _ = _text(regression_view(compare_tables(bench_table(), new)), 400).splitlines()
    assert "was ok, is failing: 1 xxx" in line
    assert line.endswith("x…; and 4 more")


def test_no_regression_is_told_as_well(bench_table):
    text = _text(regression_view(compare_tables(bench_table(), bench_table())))
    assert text.startswith("NO REGRESSION  0 of 5 figures of 1 group are")


def test_ratios_and_intervals_in_words():
    assert ratio_text(Ratio(2.0, None, None, 1, 0, True, None, None)) == "2 (no interval: 1 run)"
    assert (
        ratio_text(Ratio(2.0, None, None, 5, 4, True, None, None))
        == "2 (interval open: censored runs)"
    )
    assert ratio_text(Ratio(2.0, 1.5, None, 5, 1, True, None, None)) == "2 (above 1.5)"
    assert ratio_text(Ratio(None, None, None, 5, 5, True, 3.0, None)) == "> 3"
    assert ratio_text(Ratio(None, None, None, 5, 5, True, None, 0.5)) == "< 0.5"
    assert interval_text(118.0, 125.0, duration) == "118.0 s to 2 min 05 s"


DISTRICT = "school_district_identifier"
LONG_NAMES = [
    f"pymc:nutpie@noncentered,{DISTRICT}=centered",
    f"numpyro:nuts@centered,{DISTRICT}=noncentered,gpu,vectorized",
    f"numpyro:nuts@centered,{DISTRICT}=noncentered",
    "numba:nutpie@marginalized",
    "reference:exact@marginalized",
]


@pytest.mark.parametrize("columns", [80, 120])
def test_no_word_of_a_benchmark_is_broken(bench_table, end_run, assert_whole, columns):
    worst = {"ess_quantity": f"beta_{DISTRICT}[Unified District of Aa/No. 1, percent_free_lunch]"}

    def late(row):
        return (
            end_run(row, "timeout", "it took too long to end") if row["seed"] < 3 else row | worst
        )

    how = {"sweep": "rows", "sizes": SIZES}
    old = bench_table(LONG_NAMES, **how, change=lambda row: row | worst)
    new = bench_table(LONG_NAMES[1:], **how, stream=1, change=late).assign(cpu="Model B")
    for table in (old, new):
        # A table of one size says the size once.
        assert_whole(groups_view(aggregate(table)), columns, often=False)
    for view in (
        notes_view(aggregate(new)),
        growth_view(growth(old)),
        crossover_view(crossovers(old)),
        regression_view(compare_tables(old, new)),
    ):
        assert_whole(view, columns)


def test_a_load_of_other_processes_is_told_above_the_figures(bench_table):
    # The machine has four cores; a benchmark by itself leaves a load of at most one for each.
    table = bench_table(change=lambda row: row | {"load": 4.4 + (row["seed"] > 3)})
    stream = StringIO()
    print_figures(BenchStatistics(table), Console(file=stream, width=160, color_system=None))
    first = stream.getvalue().splitlines()[0]
    assert first.startswith(
        "Other processes were busy: a load of 5.4 before 2 of 5 runs, on 4 cores."
    )
    assert load_note(bench_table(change=lambda row: row | {"load": 4.4})) == ""
    assert load_note(bench_table()) == ""


def test_what_counts_as_a_load():
    assert is_loaded(5.6, 2)
    # The largest load that one of the committed runs began with, on two cores and nothing else running.
    assert not is_loaded(2.24, 2)
    assert not is_loaded(None, 2)
    assert not is_loaded(9.0, None)
