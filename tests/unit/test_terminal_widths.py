"""Every table and sentence at 80 and 120 columns: no word broken, no heading cut, nothing left out."""

import io
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

from nestor import ModelSpec, Problem, SamplerConfig
from nestor.agreement.comparison import Comparison
from nestor.agreement.criteria import Criteria
from nestor.agreement.density import compare_densities
from nestor.agreement.pair_judge import PairJudge
from nestor.agreement.pipeline import engine_result
from nestor.api import loo
from nestor.backend import Draws, Timings
from nestor.calibration.result import Calibration
from nestor.calibration.tasks import Record
from nestor.conformance import ConformanceReport, Result
from nestor.engines.contender import Contender
from nestor.references.verify import Score, Scorecard
from nestor.runner.datatree import to_datatree
from nestor.views.terminal.calibration import calibration_view
from nestor.views.terminal.comparison import comparison_view
from nestor.views.terminal.conformance import report_view
from nestor.views.terminal.layout import Column, Fitted, Prose
from nestor.views.terminal.loo import totals_view, unreliable_view
from nestor.views.terminal.problem import index_view
from nestor.views.terminal.scorecard import scorecard_view
from nestor.views.terminal.summary import summary_view

LONG = "school_district_identifier"
FORMULA = f"y ~ percent_free_lunch + (percent_free_lunch || {LONG}/class)"
CONTENDERS = [
    f"pymc:nutpie@noncentered,{LONG}=centered",
    f"numpyro:nuts@centered,{LONG}=noncentered,float32,vectorized",
    "numba:nutpie@marginalized",
    "reference:exact@marginalized",
    f"pymc:pymc@noncentered,{LONG}=centered,statistics",
]
CONFIG = SamplerConfig(chains=4, warmup=10, draws=100)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(3)
    districts = [f"Unified District of {name} No. {k}" for k, name in enumerate(("Aa", "Bb", "Cc"))]
    table = pd.DataFrame(
        {
            LONG: rng.choice(districts, 60),
            "class": rng.choice(["first/second", "third, mixed"], 60),
            "percent_free_lunch": rng.normal(size=60),
        }
    )
    table["y"] = table.percent_free_lunch + rng.normal(size=60)
    return Problem(ModelSpec.from_formula(FORMULA), table)


def row(problem, name, seed):
    rng = np.random.default_rng(seed)
    lead = (CONFIG.chains, CONFIG.draws)
    values = {n: 10 + rng.standard_normal((*lead, *v.shape)) for n, v in problem.variables.items()}
    both = {"warmup_and_sampling_s": 1.25} if seed % 2 else {"warmup_s": 1.0, "sampling_s": 0.25}
    attrs = {
        "settings": {},
        "timings": {"compile_s": 100.0, "total_s": 12_345.6, **both},
        "versions": {},
        "config": {"seed": seed},
        "peak_bytes": 12_345_678_901,
    }
    draws = Draws(problem.with_inherited(values), {}, Timings(), {})
    contender = Contender.parse(name, problem.spec.level_names)
    check = compare_densities(contender.name, "float64", (-1.0,), (-1.0,))
    return engine_result(problem, contender, to_datatree(problem, draws, attrs), density=check)


@pytest.fixture(scope="module")
def comparison(problem):
    rows = tuple(row(problem, name, seed) for seed, name in enumerate(CONTENDERS))
    judge = PairJudge(problem, Criteria()).judge
    pairs = [judge(rows[0], other) for other in rows[1:]]
    return Comparison(problem, CONFIG, Criteria(), rows, tuple(pairs))


@pytest.fixture(scope="module")
def views(problem, comparison):
    rows, pairs = comparison.rows, comparison.pairs
    card = Scorecard(
        CONTENDERS[0],
        CONFIG,
        tuple(
            Score(name, one, pair)
            for name, one, pair in zip(("eight-schools", "a" * 20), rows, pairs, strict=False)
        ),
    )
    left = loo(problem, rows[0].tree, progress=False)
    rng = np.random.default_rng(1)
    n = len(problem.scalars) + 1
    records = tuple(
        Record(i, "ok", "", tuple(np.minimum(rng.integers(0, 20, n), 63).tolist()), 1.0, 0, 100)
        for i in range(120)
    )
    study = Calibration(
        problem, rows[0].contender, CONFIG, "posterior", 63, records, reuses=True, versions={}
    )
    results = tuple(
        Result(
            "posterior", "the_density_is_the_reference_density", f"{LONG},x/y", outcome, why, 1.0
        )
        for outcome in ("failed", "skipped", "expected failure", "out of time")
        for why in (
            "never: the library has no such thing, and it would take another one to have it",
        )
    )
    return {
        "compare": comparison_view(comparison),
        "fit": summary_view(problem, rows[0].summaries),
        "verify": scorecard_view(card),
        "index": index_view(problem.index),
        "loo": totals_view(left),
        "loo, unreliable": unreliable_view(left, "Leave them out one by one: --exact."),
        "calibrate": calibration_view(study),
        "conformance": report_view(ConformanceReport("pymc", {"pymc": "6.0.1"}, results)),
    }


COMMANDS = [
    "compare",
    "fit",
    "verify",
    "index",
    "loo",
    "loo, unreliable",
    "calibrate",
    "conformance",
]


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_word_is_broken(views, assert_whole, command, columns):
    assert_whole(views[command], columns)


ODD = [
    "",
    " ",
    "a",
    "pymc:nutpie@noncentered,schoolid=centered",
    "x" * 90,
    "学校の識別子" * 9,
    "beta_h[a/x, Intercept]",
    "[bold]no markup[/bold]",
    "two\nlines",
    "👩‍🏫 teacher",
    "Normal(0, 1)",
    "1,234.5",
]


def printed(view, columns):
    stream = io.StringIO()
    Console(file=stream, width=columns, highlight=False, emoji=False, color_system=None).print(view)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("columns", [10, 20, 40, 80])
def test_odd_words_fit_and_none_of_their_letters_is_lost(columns):
    rng = np.random.default_rng(columns)
    for k in range(12):
        texts = list(rng.choice(ODD, (3, 4)))
        headings = rng.choice([text for text in ODD if "\n" not in text], 4)
        kinds = rng.choice(["figure", "name", "prose"], 4)
        table = Fitted(
            [Column(str(h), str(kind)) for h, kind in zip(headings, kinds, strict=True)],
            [[str(cell) for cell in row] for row in texts],
            sideways=bool(k % 2),
        )
        for view, words in (
            (table, [*np.ravel(texts)]),
            (Prose(" ".join(texts[0]), 2), texts[0]),
        ):
            lines = printed(view, columns)
            assert max((cell_len(line.rstrip()) for line in lines), default=0) <= columns
            letters = Counter("".join("".join(lines).split()))
            assert not Counter("".join("".join(words).split())) - letters
