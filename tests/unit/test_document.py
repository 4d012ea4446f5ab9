"""The document of a comparison, and its schema."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from nestor import ModelSpec, Problem, SamplerConfig, SpecError, Verdict
from nestor.agreement.comparison import Comparison
from nestor.agreement.criteria import Criteria
from nestor.agreement.density import compare_densities
from nestor.agreement.engine_result import EngineFailure
from nestor.agreement.pair_judge import PairJudge
from nestor.agreement.pipeline import engine_result
from nestor.agreement.schema import comparison_document, engine_document, json_schema
from nestor.backend import Draws, Timings
from nestor.engines.contender import Contender
from nestor.errors import UnknownContender
from nestor.runner.datatree import to_datatree
from nestor.views.plots.pairs import find_pair
from nestor.views.sentences import estimate_rows

pytestmark = pytest.mark.usefixtures("fake_engines")

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "comparison.schema.json"
CONFIG = SamplerConfig(chains=4, warmup=10, draws=500)
SETTINGS = {"max_tree_depth": 10, "step_size": math.nan, "metric": "diag"}


def contender(problem, text):
    return Contender.parse(text, problem.spec.level_names).resolve_formulation(problem)


def finished(problem, text, seed):
    """A row as a session makes it, from independent normal draws."""
    rng = np.random.default_rng(seed)
    lead = (CONFIG.chains, CONFIG.draws)
    values = {n: 10 + rng.standard_normal((*lead, *v.shape)) for n, v in problem.variables.items()}
    stats = {
        "diverging": np.zeros(lead, bool),
        "energy": rng.standard_normal(lead),
        "tree_depth": np.full(lead, 3),
    }
    attrs = {
        "settings": SETTINGS,
        "timings": {"import_s": 0.5, "compile_s": None, "sampling_s": 2.0, "total_s": 4.0},
        "versions": {"fake": "1"},
        "config": {"seed": seed},
        "peak_bytes": 1_000_000,
    }
    draws = Draws(problem.with_inherited(values), stats, Timings(), {})
    return engine_result(problem, contender(problem, text), to_datatree(problem, draws, attrs))


def comparison(problem, *rows, found=(-1.0, -math.inf), **more):
    reference = (-1.0, -math.inf)
    rows = tuple(
        replace(row, density=compare_densities(row.name, "float64", reference, found))
        for row in rows
    )
    pairs = (PairJudge(problem, Criteria()).judge(*rows[:2]),)
    return Comparison(problem, CONFIG, Criteria(), rows, pairs, **more)


@pytest.fixture(scope="module")
def problems(small_table):
    formula = "y ~ x + (x || g) + (1 || g:h)"
    usual = ModelSpec.from_formula(formula, priors={"sigma": 1, "tau_g": "HalfNormal(2)"})
    per_parent = ModelSpec.from_formula("y ~ 1 + (x || g/h)", family="student_t", scale="parent")
    return [Problem(usual, small_table), Problem(per_parent, small_table)]


@pytest.fixture
def good(problems):
    problem = problems[0]
    return comparison(
        problem, *(finished(problem, t, s) for s, t in enumerate(["exact", "exact2"]))
    )


def validated(found):
    document = json.loads(found.to_json())
    jsonschema.Draft202012Validator(json_schema()).validate(document)
    assert document == found.to_dict()
    return document


def test_the_committed_schema_is_what_the_code_gives():
    assert json.loads(SCHEMA.read_text()) == json_schema(), "run: nestor schema comparison"


def test_the_schema_is_valid_and_closed():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())


def test_a_comparison_fits_the_schema_and_says_what_was_run(good):
    document = validated(good)
    assert document["verdict"] == good.verdict.value
    problem = document["problem"]
    assert problem["formula"] == "y ~ 1 + x + (1 + x || g) + (1 || g:h)"
    assert problem["rows"] == 60
    assert problem["scalars"] == len(good.problem.scalars)
    assert problem["levels"] == [
        {"name": "g", "nodes": 3, "effects": ["Intercept", "x"], "scale": "level"},
        {"name": "h", "nodes": 6, "effects": ["Intercept"], "scale": "level"},
    ]
    assert problem["priors"]["sigma"] == "Fixed(1)"
    assert problem["priors"]["tau_g[x]"] == "HalfNormal(2)"
    assert problem["automatic_priors"] == ["beta[Intercept]", "beta[x]", "tau_h[Intercept]"]
    assert document["config"]["draws"] == 500
    assert document["density"]["checks"][0]["max_relative_difference"] == 0.0


def test_the_priors_of_the_document_give_the_same_problem_again(problems, small_table, good):
    document = validated(good)["problem"]
    spec = ModelSpec.from_formula(document["formula"], priors=document["priors"])
    assert Problem(spec, small_table).fingerprint == document["fingerprint"]


def test_what_is_not_known_is_null_never_nan(good):
    engine = validated(good)["engines"][0]
    assert engine["timings"]["compile_s"] is None
    assert engine["timings"]["warmup_s"] is None
    assert engine["timings"]["total_s"] == 4.0
    assert engine["settings"] == SETTINGS | {"step_size": None}
    assert engine["efficiency"]["peak_bytes"] == 1_000_000
    gates = good.rows[0].gates
    worst = min(gates.ess_bulk_min, gates.ess_tail_min)
    assert engine["efficiency"]["ess_per_s_sampling"] == pytest.approx(worst / 2.0)
    assert engine["diagnostics"]["divergences"] == 0
    assert (engine["draws"], engine["log"]) == (None, None)


def test_what_auto_chose_is_said_with_its_reason(problems):
    rows = [finished(problems[0], text, 3) for text in ("exact", "exact2@noncentered")]
    chosen, named = validated(comparison(problems[0], *rows))["engines"]
    assert chosen["formulation"] == str(rows[0].contender.formulation)
    assert chosen["formulation_reason"].startswith("the engine cannot marginalize; centered where")
    assert (named["formulation"], named["formulation_reason"]) == ("noncentered", "")


def test_files_are_named_where_there_is_a_folder(problems, tmp_path):
    row, other = (
        finished(problems[0], text, 3) for text in ("exact@h=centered", "exact2@noncentered")
    )
    failed = EngineFailure(row.contender, "failed", "killed by signal 9")
    document = validated(comparison(problems[0], other, failed, folder=tmp_path))
    first, second = document["engines"]
    assert (first["draws"], first["log"]) == (
        "exact2-iid@noncentered.nc",
        "exact2-iid@noncentered.log",
    )
    assert (second["draws"], second["log"]) == (None, f"{row.contender.file_stem}.log")


@pytest.mark.parametrize("status", ["failed", "timeout", "interrupted", "density_failed"])
def test_an_engine_without_results_fits_the_schema(problems, status):
    problem = problems[0]
    lost = EngineFailure(contender(problem, "exact2"), status, "why")
    found = comparison(problem, finished(problem, "exact", 1), lost, found=(math.nan, 0.0))
    document = validated(found)
    assert (
        found.verdict is Verdict.DISAGREE
    )  # a density that is not a number is not the reference's
    engine = document["engines"][1]
    assert (engine["status"], engine["message"], engine["seed"]) == (status, "why", None)
    assert set(engine["timings"].values()) == {None}
    assert engine["diagnostics"]["notes"] == []
    check = document["density"]["checks"][1]
    assert check["max_relative_difference"] is None
    assert check["worst_found"] is None
    assert check["same"] is False


def test_scales_per_parent_and_another_family_fit_the_schema(problems):
    rows = [finished(problems[1], text, 4) for text in ("exact", "exact2")]
    levels = validated(comparison(problems[1], *rows))["problem"]["levels"]
    # All nodes of the first level have one parent, so that its scale is the level's.
    assert [each["scale"] for each in levels] == ["level", "parent"]


def test_the_document_is_checked_before_it_is_written(good):
    infinite = replace(good.rows[0], settings={1: "a key that is not text"}, message=None)
    with pytest.raises(ValueError, match="message"):
        comparison_document(replace(good, rows=(infinite, *good.rows[1:])))


def test_the_table_shows_what_the_document_says(good):
    table = good.table()
    assert list(table.index) == [row.name for row in good.rows]
    document = engine_document(good.rows[0])
    assert table["rhat_max"].iloc[0] == document["diagnostics"]["rhat_max"]
    assert table["total_s"].iloc[0] == 4.0


def test_estimates_of_each_contender_are_in_the_document(good):
    document = validated(good)
    names = [
        n
        for n, node in zip(good.quantities.labels, good.quantities.is_node, strict=True)
        if not node
    ]
    for row, engine in zip(good.rows, document["engines"], strict=True):
        found = engine["estimates"]
        assert [one["quantity"] for one in found] == names[:-1]  # the last is the log-likelihood
        drawn = row.tree["posterior"]["beta"].sel(effect="x").to_numpy()
        one = found[names.index("beta[x]")]
        assert one["group"] == "population"
        assert one["mean"] == pytest.approx(drawn.mean())
        assert one["sd"] == pytest.approx(drawn.std(ddof=1))
        assert one["q95"] == pytest.approx(np.quantile(drawn, 0.95))


def test_estimates_are_a_table_with_contenders_beside_each_other(good):
    table = good.estimates()
    names = [row.name for row in good.rows]
    means = table["mean"].unstack()
    assert set(means.columns) == set(names)
    assert means.loc["beta[x]", names[1]] == pytest.approx(
        float(good.rows[1].tree["posterior"]["beta"].sel(effect="x").mean())
    )
    assert list(table.index.get_level_values("contender"))[:4] == names * 2
    nodes = good.estimates(nodes=True)
    assert len(nodes) == 2 * good.quantities.n_scalars
    assert "beta_h[a/x, Intercept]" in nodes.index


def test_estimates_of_engines_without_draws_are_none(problems):
    problem = problems[0]
    lost = [
        EngineFailure(contender(problem, text), "failed", "why") for text in ("exact", "exact2")
    ]
    found = comparison(problem, *lost)
    assert found.estimates().empty
    assert [engine["estimates"] for engine in validated(found)["engines"]] == [[], []]


def test_a_notebook_shows_estimates_beside_each_other(good):
    text = re.sub(r"<[^>]*>", "", good._repr_html_())
    table = text[text.index("Estimates") :]
    (of_x,) = (found for name, found in estimate_rows(good).items() if name == "beta[x]")
    for row in good.rows:
        assert f"{row.name}{''.join(of_x[row.name])}" in table.replace("\n", "")


def test_contenders_are_found_by_the_names_that_were_asked_for(problems):
    problem = problems[0]
    texts = ["exact", "exact@centered", "exact2@noncentered,sequential"]
    rows = [finished(problem, text, seed) for seed, text in enumerate(texts)]
    found = comparison(problem, *rows)
    rows = found.rows
    for name, row in {
        "exact": rows[0],  # asked for in these words, though the second is of this engine too
        "exact@auto": rows[0],
        "exact:iid@centered": rows[1],
        "exact@centered": rows[1],
        "exact2": rows[2],
        "exact2@sequential": rows[2],
        rows[2].name: rows[2],
    }.items():
        assert found.row(name) is row
        assert found.draws[name] is row.tree
        assert name in found.draws
    assert list(found.draws) == [row.name for row in rows]
    assert found.draws.get("pymc") is None


@pytest.mark.parametrize("nodes", ["x", 1, None])
def test_estimates_of_nodes_are_asked_for_by_true_or_false(problems, nodes):
    rows = [finished(problems[0], text, s) for s, text in enumerate(["exact", "exact2"])]
    found = comparison(problems[0], *rows)
    with pytest.raises(SpecError, match="nodes must be True or False, not"):
        found.estimates(nodes=nodes)


def test_a_name_that_is_like_some_suggests_the_contender_with_such_words(problems):
    texts = ("exact@centered", "reference@centered", "reference@marginalized", "exact")
    rows = [finished(problems[0], text, seed) for seed, text in enumerate(texts)]
    found = comparison(problems[0], *rows)
    for asked, meant in {
        "reference@marg": "reference@marginalized",
        "reference:exact@marg": "reference:exact@marginalized",
        "Reference@Centred": "reference@centered",
        "exact@nonc": "exact@noncentered",
        "refrence@marginalized": "reference@marginalized",
    }.items():
        with pytest.raises(KeyError, match=rf"Did you mean '{meant}'\?"):
            found.draws[asked]
        assert meant in found.draws
    with pytest.raises(KeyError) as nothing_like_it:
        found.draws["x" * 5000]
    assert "Did you mean" not in str(nothing_like_it.value)
    assert len(str(nothing_like_it.value)) < 500


def test_pictures_find_a_pair_by_such_names(problems):
    rows = [finished(problems[0], text, s) for s, text in enumerate(["exact", "exact2@sequential"])]
    found = comparison(problems[0], *rows)
    assert find_pair(found, "exact2", "exact")[:2] == found.rows
    with pytest.raises(KeyError, match="there is no contender 'exact3'"):
        find_pair(found, "exact", "exact3")


def test_a_name_that_means_several_or_none_says_what_there_is(problems):
    problem = problems[0]
    lost = EngineFailure(contender(problem, "exact2"), "failed", "killed by signal 9")
    texts = ("exact@centered", "exact@noncentered")
    rows = [*(finished(problem, text, seed) for seed, text in enumerate(texts)), lost]
    found = comparison(problem, *rows)
    with pytest.raises(UnknownContender) as several:
        found.draws["exact"]
    assert str(several.value) == (
        "'exact' may mean exact:iid@centered or exact:iid@noncentered: write more of the name."
    )
    with pytest.raises(KeyError, match=r"Did you mean 'exact:iid@centered'\?"):
        found.row("exact:iid@centred")
    with pytest.raises(KeyError, match=r"returned no draws \(failed: killed by signal 9\)"):
        found.draws["exact2"]
    assert "exact2" not in found.draws
    with pytest.raises(KeyError):
        found.draws[3]


def test_notes_of_the_problem_and_what_draws_may_lack(small_table):
    """In the document, in both views, and in the message of a run that did not pass the gates."""
    table = small_table.assign(year=2010.0 + small_table.x, y2=small_table.y > 0)
    problem = Problem(ModelSpec.from_formula("y2 ~ year + (year || g)"), table)
    rows = [finished(problem, text, 1) for text in ("exact@centered", "exact2@noncentered")]
    bad = rows[0].tree.copy()
    bad["posterior"] = bad["posterior"].dataset.map(lambda v: v + 9.0 * v.chain)
    hint = "write center(year)"
    rows[0] = engine_result(problem, rows[0].contender, bad)
    assert rows[0].status == "gates_failed"
    assert hint in rows[0].message
    assert hint not in rows[1].message
    found = comparison(problem, *rows)
    document = validated(found)
    (note,) = document["problem"]["notes"]
    assert note == problem.notes[0]
    text = " ".join(str(found).split())
    assert f"note: {note}" in text
    assert "note: exact:iid@centered: year (mean" in text
    assert "note: the outcome &#x27;y2&#x27; has two values" in found._repr_html_()
