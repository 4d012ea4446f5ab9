"""The description of a model: checks, text forms that read back, addresses of priors."""

import json
import pickle
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from nestor.errors import SpecError, Unsupported
from nestor.model.names import INTERCEPT, RESERVED
from nestor.model.priors import Prior
from nestor.model.spec import Level, ModelSpec, json_schema
from nestor.model.terms import quoted

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "model.schema.json"


def spec(**changes):
    fields = {
        "outcome": "y",
        "levels": [{"name": "g", "effects": [INTERCEPT]}],
        "effects": [INTERCEPT],
    }
    return ModelSpec(**(fields | changes))


def level(name, *effects, **more):
    return {"name": name, "effects": effects or (INTERCEPT,), **more}


TWO = {
    "effects": (INTERCEPT, "x"),
    "levels": [level("state", INTERCEPT, "x"), level("county", INTERCEPT)],
    "covariates": ("z",),
}


# --- round trips ------------------------------------------------------------------------------

COLUMNS = st.text(
    st.characters(
        categories=["L", "N", "P", "S", "Z"], include_characters="\n\t", exclude_characters="`/"
    ),
    min_size=1,
    max_size=6,
).filter(lambda name: name != ".")
POSITIVE_PRIORS = st.sampled_from(
    ["HalfNormal(2)", "HalfStudentT(4, 0.1)", "Uniform(0, 1e-300)", "Gamma(2, 0.1)"]
)


@st.composite
def specs(draw):
    """Random descriptions: any column names, subsets of effects by level, zero means, priors."""
    names = draw(st.lists(COLUMNS, unique=True, min_size=12, max_size=12))
    depth, slopes, covariates = (draw(st.integers(*b)) for b in ((1, 4), (0, 3), (0, 2)))
    wrap = st.sampled_from(["{}", "log({})", "scale({})", "I({}**2)"])
    terms = [draw(wrap).format(quoted(name)) for name in names[:5]]
    some = draw(st.booleans()) or not slopes
    effects = [*([INTERCEPT] * some), *terms[:slopes]]
    zero = [e for e in effects if draw(st.integers(0, 3)) == 0]
    subsets = [[e for e in effects if draw(st.booleans())] for _ in range(depth)]
    subsets[-1] = subsets[-1] or effects[:1]
    missing = [e for e in effects if not any(e in s for s in subsets)]
    subsets[0] = [e for e in effects if e in subsets[0] or e in missing]
    first = {e: k for k in reversed(range(depth)) for e in subsets[k]}
    effects.sort(key=lambda e: (e != INTERCEPT, e in zero and 1 + first[e]))
    subsets = [[e for e in effects if e in subset] for subset in subsets]
    fields = {
        "outcome": draw(wrap).format(quoted(names[5])),
        "levels": [
            Level(name=n, effects=tuple(s), scale=draw(st.sampled_from(["level", "parent"])))
            for n, s in zip(names[6:10], subsets, strict=False)
        ],
        "effects": tuple(effects),
        "zero_mean": tuple(e for e in effects if e in zero),
        "covariates": tuple(terms[slopes : slopes + covariates]),
        "family": draw(st.sampled_from(["gaussian", "student_t"])),
        "offset": draw(st.sampled_from([None, names[10]])),
        "weights": draw(st.sampled_from([None, names[11]])),
    }
    addresses = (f"tau[{effects[0]}]", f"tau_{names[5 + depth]}", "sigma")
    try:
        return ModelSpec(**fields, priors={a: draw(POSITIVE_PRIORS) for a in addresses})
    except SpecError as error:  # names that collide, such as a and a_label, are another test's
        if "is taken by" in str(error):
            reject()
        raise


LENIENT = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@LENIENT
@given(specs())
def test_toml_reads_back_exactly(model):
    assert ModelSpec.from_toml(model.to_toml()) == model


@LENIENT
@given(specs())
def test_formula_reads_back_exactly(model):
    again = ModelSpec.from_formula(
        model.to_formula(),
        family=model.family,
        priors=model.priors,
        scale={each.name: each.scale for each in model.levels},
        weights=model.weights,
    )
    assert again == model


def test_json_and_pickle_read_back():
    model = spec(**TWO, priors={"tau_state[x]": "HalfNormal(2)", "sigma": 3})
    assert ModelSpec.model_validate_json(model.model_dump_json()) == model
    assert pickle.loads(pickle.dumps(model)) == model


def test_a_formula_and_its_arguments_in_toml():
    text = """
    formula = "y ~ x + z + offset(`e 1`) + (x || state) + (1 || state:county)"
    family = "student_t"
    scale = {county = "parent"}
    weights = "w 1"
    [priors]
    nu = 4
    "tau_state[x]" = "HalfNormal(2)"
    """
    found = ModelSpec.from_toml(text)
    assert found == spec(
        effects=(INTERCEPT, "x"),
        levels=[level("state", INTERCEPT, "x"), level("county", scale="parent")],
        covariates=("z",),
        family="student_t",
        offset="e 1",
        weights="w 1",
        priors={"nu": Prior("Fixed", (4.0,)), "tau_state[x]": "HalfNormal(2)"},
    )


def test_an_effect_of_the_group_part_alone_has_mean_zero():
    found = ModelSpec.from_formula("y ~ 1 + (x || g)")
    assert found.zero_mean == ("x",)
    assert found.effects == (INTERCEPT, "x")


def test_an_intercept_that_does_not_vary_is_a_covariate():
    found = ModelSpec.from_formula("y ~ 1 + x + (0 + x || g)")
    assert (found.effects, found.covariates) == (("x",), (INTERCEPT,))
    assert found.to_formula() == "y ~ 1 + x + (0 + x || g)"


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": []}, "levels: must not be empty"),
        ({"levels": [level("")]}, "name: must not be empty"),
        ({"outcome": 3}, "outcome: must be text, not 3"),
        ({"outcom": "y"}, "unknown key 'outcom'. Did you mean 'outcome'"),
        ({"effects": "Intercept"}, "effects: must be a list, not 'Intercept'"),
        ({"family": "poisson"}, "'poisson' is not supported yet"),
        ({"family": "normal"}, "unknown family 'normal'"),
        ({"effects": [INTERCEPT, "x"]}, r"\['x'\] vary at no level: make them covariates"),
        ({"levels": [level("g", "x")]}, r"level 'g' names unknown effects \['x'\]"),
        ({"effects": [INTERCEPT, INTERCEPT]}, r"effects are given twice: \['Intercept'\]"),
        ({"covariates": ["x", "x"]}, r"covariates are given twice: \['x'\]"),
        ({"covariates": [INTERCEPT]}, "cannot both vary by group and be a covariate"),
        ({"zero_mean": ["x"]}, r"zero_mean names \['x'\]"),
        ({"zero_mean": [INTERCEPT] * 2}, "zero_mean must stand as"),
        ({**TWO, "levels": [level("g", "x", INTERCEPT)]}, "in the model's order"),
        ({"levels": [level("g", INTERCEPT, INTERCEPT)]}, "once each"),
        (
            {"effects": ["x", INTERCEPT], "levels": [level("g", "x", INTERCEPT)]},
            r"effects must stand as \['Intercept', 'x'\], not \['x', 'Intercept'\]",
        ),
        (
            {"effects": ["x", "z"], "levels": [level("g", "x", "z")], "zero_mean": ["x"]},
            r"effects must stand as \['z', 'x'\]",
        ),
        (
            {
                "effects": ["x", "z"],
                "levels": [level("g", "z"), level("h", "x", "z")],
                "zero_mean": ["x", "z"],
            },
            r"effects must stand as \['z', 'x'\]",
        ),
        (
            {"effects": ["x"], "levels": [level("g", "x")], "covariates": ["z", INTERCEPT]},
            r"covariates must stand as \['Intercept', 'z'\]",
        ),
        (
            {"levels": [level("g"), {"name": "h", "effects": []}]},
            "nothing varies at the last level, 'h': leave it out",
        ),
        ({"levels": [level("g", correlated=True)]}, "too few effects to be correlated"),
        ({"levels": [level("g", scale="node")]}, "scale: must be 'level' or 'parent', not 'node'"),
        ({"outcome": "y +"}, r"outcome 'y \+': the formula ends where"),
        ({"outcome": "log( y )"}, r"outcome 'log\( y \)' is written 'log\(y\)'"),
        ({"outcome": "y:z"}, "one column or a transform of one"),
        ({"covariates": ["z:x"]}, "'z:x' is written 'x:z'"),
        ({"covariates": ["a b"]}, "term 'a b': unexpected 'b'"),
        ({"covariates": ["eval(x)"]}, "no transform"),
        ({"covariates": ["log(y)"]}, r"the outcome 'y' is also a predictor, in log\(y\)"),
        ({"levels": [level("y")]}, "'y' is both the outcome and a level"),
        ({"offset": b"e"}, "offset: must be text, not b'e'"),
        ({"weights": b"w"}, "weights: must be text, not b'w'"),
        ({"family": b"gaussian"}, "family: must be text"),
        ({"levels": [level(b"g")]}, "name: must be text, not b'g'"),
        ({"levels": [level("g", b"x")]}, "must be text, not b'x'"),
        ({"levels": [{"nme": "g", "effects": []}]}, "unknown key 'nme'. Did you mean 'name'"),
        ({"levels": [level("g", correlated="no")]}, "must be true or false, not 'no'"),
        ({"priors": {b"tau": "HalfNormal(1)"}}, "must be text, not b'tau'"),
        ({"offset": "y"}, "'y' cannot be the column of offset"),
        ({"weights": ""}, "'' cannot be the column of weights"),
        ({"offset": "a`b"}, "cannot be the column of offset"),
        ({"outcome": "row"}, "the outcome cannot be called 'row'"),
        ({"outcome": "g_of_row"}, "the outcome cannot be called 'g_of_row'"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        spec(**changes)


def test_correlated_effects_are_not_supported_yet():
    with pytest.raises(
        Unsupported,
        match=r"\(1 \+ x \| g\), are not supported yet; for independent ones write \(1 \+ x \|\| g\)",
    ):
        ModelSpec.from_formula("y ~ x + (x | g)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outcome =", "not valid TOML"),
        ("formula = 1", "a formula is a string, not int"),
        ("outcome = 'y'", "levels is missing"),
        ("formla = 'y ~ 1 + (1 || g)'", "unknown key 'formla'. Did you mean 'formula'"),
        ("scal = 'level'", "unknown key 'scal'. Did you mean 'scale'"),
        ("model.toml", "'model.toml' is the name of a file: give .*read_text"),
        (Path("model.toml"), "'model.toml' is the name of a file: give .*read_text"),
        ("formula = 'y ~ 1 + (1 || g)'\nlevels = []", r"unknown keys: \['levels'\]"),
        ("formula = 'y ~ 1 + (1 || g)'\nscale = 3", "not 3"),
        ("formula = 'y ~ 1 + (1 || g)'\nscale = ['parent']", r"not \['parent'\]"),
        ("formula = 'y ~ 1 + (1 || g)'\nscale = 'node'", "must be 'level' or 'parent'"),
        ("formula = 'y ~ 1 + (1 || g)'\nscale = {h = 'level'}", r"unknown levels \['h'\]"),
        ("formula = 'y ~ 1 + (1 || g)'\npriors = 'wide'", "priors: must be names and their values"),
        (
            "formula = 'y ~ 1 + (1 || g)'\npriors = ['wide']",
            "priors: must be names and their values",
        ),
        ("formula = 'y ~ 1 + (1 || g)'\npriors = {sigma = 'wide'}", "cannot read the prior 'wide'"),
        ("formula = 'y ~ 1 + offset(e) + (1 || g)'\noffset = 'f'", "the offset is given twice"),
    ],
)
def test_bad_toml_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        ModelSpec.from_toml(text)


@pytest.mark.parametrize("name", [*RESERVED, "sigma", "2"])
def test_a_level_may_not_hide_a_name_of_the_draws(name):
    with pytest.raises(SpecError, match=f"level '{name}' cannot be used"):
        spec(levels=[level(name)])


def test_nu_is_a_name_of_the_draws_only_where_the_family_has_it():
    assert spec(levels=[level("nu")]).level_names == ("nu",)
    with pytest.raises(SpecError, match="level 'nu' cannot be used"):
        spec(levels=[level("nu")], family="student_t")


@pytest.mark.parametrize(
    "names",
    [
        ("g", "g"),
        ("g", "g_label"),
        ("g_label", "g"),
        ("g", "beta_g"),
        ("g", "tau_g"),
        ("g", "effect_g"),
        ("g", "corr_g"),
        ("a_of_b", "a", "b"),
        ("g", "parent_of_g"),
        ("g", "g_of_row"),
        ("tau_g[Intercept]", "g"),
        ("a b", "a_b"),
    ],
)
def test_levels_whose_names_would_collide_are_refused(names):
    with pytest.raises(SpecError, match=r"is taken by .*Rename the column"):
        spec(levels=[level(name) for name in names])


@pytest.mark.parametrize("name", ["a/b", "a`b", "a\x00b", "."])
def test_a_levels_name_can_be_written_into_files_and_formulas(name):
    with pytest.raises(SpecError, match="a level's name may not contain"):
        spec(levels=[level(name)])


# --- priors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "prior", "message"),
    [
        (
            "beta[q]",
            "Normal(0, 1)",
            r"no prior can be set on 'beta\[q\]'. Did you mean 'beta\[x\]'\? This",
        ),
        ("gamma[x]", "Normal(0, 1)", "no prior can be set"),
        ("tau_county[x]", "HalfNormal(1)", "no prior can be set"),
        ("tau_g", "HalfNormal(1)", "no prior can be set"),
        ("nu", "HalfNormal(1)", "no prior can be set"),
        (" sigma", "HalfNormal(1)", "no prior can be set"),
        ("sigma", "Normal(0, 1)", r"the prior of sigma, Normal\(0, 1\), must lie on positive"),
        ("tau", "Uniform(-1, 1)", "must lie on positive"),
        ("tau_state[x]", "Cauchy(0, 1)", "must lie on positive"),
        ("tau", 2, "tau cannot be fixed at 2"),
        ("beta[x]", "2", r"beta\[x\] cannot be fixed"),
        ("sigma", 0, "sigma must be greater than 0, not 0"),
        ("sigma", -1, "sigma must be greater than 0, not -1"),
        ("sigma", True, "not True"),
        (3, "HalfNormal(1)", "must be text, not 3"),
    ],
)
def test_bad_priors_are_refused(address, prior, message):
    with pytest.raises(SpecError, match=message):
        spec(**TWO).with_priors({address: prior})


def test_a_prior_that_covers_nothing_is_refused():
    with pytest.raises(SpecError, match="no prior can be set on 'beta'"):
        spec(zero_mean=(INTERCEPT,), priors={"beta": "Normal(0, 1)"})
    with pytest.raises(SpecError, match="no prior can be set on 'gamma'"):
        spec(priors={"gamma": "Normal(0, 1)"})


def test_the_most_specific_address_wins_and_a_level_comes_before_an_effect():
    order = ["tau_state[x]", "tau_state", "tau[x]", "tau"]
    priors = {address: f"HalfNormal({i + 1})" for i, address in enumerate(order)}
    for i in range(len(order)):
        given_ = {address: priors[address] for address in reversed(order[i:])}
        found = spec(**TWO, priors=given_).prior_for("tau_state", "x")
        assert found == Prior("HalfNormal", (i + 1.0,))
    model = spec(**TWO, priors=priors)
    assert model.prior_for("tau_state", INTERCEPT) == Prior.parse(priors["tau_state"])
    assert model.prior_for("tau_county", INTERCEPT) == Prior.parse(priors["tau"])
    assert model.prior_for("beta", "x") is None
    assert model.prior_for("sigma") is None


def test_beta_and_gamma_have_general_and_special_addresses():
    priors = {"beta": "Normal(0, 1)", "beta[x]": "Normal(0, 2)", "gamma[z]": "Normal(0, 3)"}
    model = spec(**TWO, priors=priors)
    asked = [("beta", INTERCEPT), ("beta", "x"), ("gamma", "z")]
    found = [model.prior_for(*address) for address in asked]
    assert [prior.args[1] for prior in found] == [1, 2, 3]


def test_with_priors_adds_and_replaces_and_leaves_the_original():
    model = spec(priors={"sigma": "HalfNormal(1)"})
    other = model.with_priors({"sigma": 2, "tau": "HalfNormal(3)"})
    assert {a: str(p) for a, p in other.priors.items()} == {
        "sigma": "Fixed(2)",
        "tau": "HalfNormal(3)",
    }
    assert model.priors == {"sigma": Prior.parse("HalfNormal(1)")}


def test_a_spec_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        spec().outcome = "z"


# --- JSON Schema ------------------------------------------------------------------------------


def test_the_committed_schema_is_what_the_code_gives():
    assert json.loads(SCHEMA.read_text()) == json_schema(), "run: nestor schema model"


def test_the_schema_is_valid_and_fits_what_from_toml_reads():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    validator = jsonschema.Draft202012Validator(json_schema())
    model = spec(**TWO, priors={"tau": "HalfNormal(1)"})
    good = [
        model.model_dump(mode="json", exclude_none=True),
        {"formula": "y ~ 1 + (1 || g)", "scale": {"g": "parent"}, "priors": {"sigma": 4}},
        {"formula": "y ~ 1 + (1 || g)", "scale": "level", "family": "student_t"},
    ]
    for fields in good:
        validator.validate(fields)
    for wrong in ({}, {"formula": 1}, good[0] | {"levels": []}, good[1] | {"levels": []}):
        assert not validator.is_valid(wrong), wrong
