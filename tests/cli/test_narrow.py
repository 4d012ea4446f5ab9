"""What is printed in a narrow terminal, and into a file: no label and no number is cut, no line padded."""

import io
import re

import pytest
from rich.console import Console

import nestor
from nestor import ModelSpec, Problem, loo
from nestor.agreement.arguments import read_contender
from nestor.agreement.pipeline import engine_result
from nestor.views.terminal.loo import totals_view
from nestor.views.terminal.summary import summary_view

FORMULA = "y ~ x + (x || g/h)"
LABELS = [
    *("beta[Intercept]", "beta[x]", "tau_g[Intercept]", "tau_g[x]"),
    *("tau_h[Intercept]", "tau_h[x]", "sigma"),
]


@pytest.fixture(scope="module")
def problem(small_table):
    return Problem(ModelSpec.from_formula(FORMULA), small_table)


@pytest.fixture(scope="module")
def draws(problem):
    how = {"chains": 2, "warmup": 50, "draws": 50, "progress": False}
    return nestor.fit(problem, "reference:exact", **how)


@pytest.fixture(scope="module")
def summary(problem, draws):
    contender = read_contender("reference:exact", problem)
    return summary_view(problem, engine_result(problem, contender, draws).summaries)


def lines(view, columns):
    stream = io.StringIO()
    Console(file=stream, width=columns, highlight=False, emoji=False).print(view)
    found = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert max(map(len, found)) <= columns
    return found


def numbers(found):
    """Each scalar's numbers, beside its name or in the line below it."""
    by_label = {}
    for line, after in zip(found, [*found[1:], ""], strict=True):
        for label in LABELS:
            if line.startswith(label):
                text = after if line == label else line.removeprefix(label)
                by_label[label] = text.split()
    return by_label


@pytest.mark.parametrize(
    ("columns", "kept", "headings"),
    [
        (80, range(8), "mean sd 5% 50% 95% mean R-hat ESS"),
        (60, range(8), "mean sd 5% 50% 95% mean R-hat ESS"),
        (40, [0, 1, 5, 6, 7], "mean sd mean R-hat ESS"),
        (26, [0, 1, 6], "mean sd R-hat"),
    ],
)
def test_the_summary_of_a_fit_is_never_cut(summary, columns, kept, headings):
    wide, narrow = lines(summary, 160), lines(summary, columns)
    whole = numbers(wide)
    assert wide[0].split() == [
        "mean",
        "sd",
        "5%",
        "50%",
        "95%",
        "MCSE",
        "mean",
        "R-hat",
        "bulk",
        "ESS",
    ]
    assert list(whole) == LABELS
    assert all(len(row) == 8 for row in whole.values())
    assert all(re.fullmatch(r"[\d.,e+-]+", cell) for row in whole.values() for cell in row)
    assert any(line.split() == headings.split() for line in narrow[:2])
    assert numbers(narrow) == {label: [row[i] for i in kept] for label, row in whole.items()}


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_the_totals_of_loo_are_whole(problem, draws, columns):
    view = totals_view(loo(problem, draws, progress=False))
    cells = lines(view, 160)[2].split()
    assert len(cells) == 6
    words = [word for line in lines(view, columns) for word in line.split()]
    assert [word for word in words if re.fullmatch(r"[\d.,-]+", word)] == cells


def test_lines_in_a_file_have_no_blanks_at_their_end(
    tmp_path, monkeypatch, small_table, call, fake_engines
):
    monkeypatch.chdir(tmp_path)
    small_table.to_csv("data.csv", index=False)
    how = ("--engine", "exact", "--draws", 500)
    code, out, err = call("fit", "data.csv", FORMULA, *how)
    assert code == 0, err
    assert [line for line in out.splitlines() if line != line.rstrip()] == []


def test_the_table_of_backends_has_none_either(call):
    code, out, err = call("backends")
    assert code == 0, err
    assert [line for line in out.splitlines() if line != line.rstrip()] == []


TINY = """
name = "tiny"
title = "Every engine that there is on a tree that is small enough to be sampled in no time by all of them"
seeds = [1, 2]
[data]
simulate = { branching = [3, 2], rows_per_leaf = 5 }
[sweep]
parameter = "rows_per_leaf"
values = [5, 50]
[tracks]
matched = { chains = 2, warmup = 10, draws = 500 }
[[grid]]
engines = ["pymc", "numpyro"]
formulations = ["noncentered", "centered"]
dtypes = ["float32"]
chain_methods = ["vectorized"]
"""


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "arguments",
    [
        ("backends",),
        ("index", "data.csv", "school_district_identifier/h"),
        ("bench", "list"),
        ("bench", "run", "tiny.toml", "--dry-run"),
    ],
)
def test_no_word_of_a_command_is_broken(
    tmp_path, monkeypatch, small_table, call, assert_whole, arguments, columns
):
    monkeypatch.chdir(tmp_path)
    small_table.rename(columns={"g": "school_district_identifier"}).to_csv("data.csv", index=False)
    (tmp_path / "tiny.toml").write_text(TINY)
    texts = []
    for width in (columns, 10_000):
        monkeypatch.setenv("COLUMNS", str(width))
        code, out, err = call(*arguments)
        assert code == 0, err
        texts.append(out)
    assert_whole(texts[0], columns, texts[1])
