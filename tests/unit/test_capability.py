"""What an engine cannot do is refused before anything is compiled, with the reason that it gives."""

import numpy as np
import pandas as pd
import pytest

import nestor
from nestor.backend import Capabilities, Missing, SamplerConfig
from nestor.data.problem import Problem
from nestor.engines import registry
from nestor.engines.capability import refusal, require_config
from nestor.engines.contender import Contender
from nestor.errors import SpecError, Unsupported
from nestor.model.spec import ModelSpec


class Engine:
    """On a CPU one chain after another, on a GPU all at once."""

    name = "e"
    samplers = ("s",)

    def capabilities(self):
        return Capabilities(
            frozenset({"gaussian"}),
            frozenset({"centered"}),
            frozenset({"cpu", "gpu"}),
            frozenset({"float64"}),
            frozenset({"sequential", "vectorized"}),
            {
                Missing(family="student_t"): "never: no tails",
                Missing(device="cpu", chain_method="vectorized"): "not yet ours: lanes",
                Missing(option="metric"): "never: no metric",
                Missing(feature="weights"): "not yet ours: rows count the same",
            },
        )


@pytest.fixture(scope="module")
def problems():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"y": rng.normal(size=12), "g": np.arange(12) % 4, "w": 2.0})
    formula = "y ~ 1 + (1 | g)"
    robust = ModelSpec.from_formula(formula, family="student_t")
    weighted = ModelSpec.from_formula(formula, weights="w")
    return {
        "plain": Problem(ModelSpec.from_formula(formula), table),
        "robust": Problem(robust, table),
        "weighted": Problem(weighted, table),
    }


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, None),
        ({"problem": "robust"}, "student_t: never: no tails"),
        ({"problem": "weighted"}, "weights: not yet ours: rows"),
        ({"dtype": "float32"}, "float32: its capabilities do not include it"),
        ({"chain_method": "vectorized"}, "cpu vectorized: not yet ours: lanes"),
        ({"chain_method": "vectorized", "device": "gpu"}, None),
        ({"config": SamplerConfig(metric="diagonal_draws")}, "metric: never: no metric"),
        ({"sampler": "t"}, "has no sampler 't'; it has s"),
    ],
)
def test_one_check_for_all_that_is_asked(problems, asked, said):
    asked = {"sampler": "s", "device": "cpu", "dtype": "float64", **asked}
    if "problem" in asked:
        asked["problem"] = problems[asked["problem"]]
    found = refusal(Engine(), **asked)
    assert found is None if said is None else said in found


def test_a_configuration_is_held_to_it_too():
    require_config(Engine(), "s", SamplerConfig(chain_method="sequential"))
    with pytest.raises(Unsupported, match="parallel"):
        require_config(Engine(), "s", SamplerConfig())


def test_a_word_that_is_unknown_or_none_at_all_is_no_key():
    with pytest.raises(SpecError, match="abacus"):
        Missing(device="abacus")
    with pytest.raises(SpecError, match="says nothing"):
        Missing()


def test_a_robust_outcome_is_not_marginalized_and_no_process_is_started(problems, monkeypatch):
    monkeypatch.setattr("nestor.runner.engine.sample", None)
    with pytest.raises(Unsupported, match=r"cannot run marginalized: .*student_t"):
        nestor.fit(problems["robust"], "reference@marginalized", progress=False)


def test_the_chain_method_defaults_to_one_that_the_engine_has(monkeypatch):
    engine = Engine()
    entry = registry.Entry(engine, (), "pip install e")
    monkeypatch.setattr(registry, "get", lambda _: entry)
    assert Contender.parse("e", ("g",)).chain_method == "sequential"
    assert Contender.parse("e@gpu", ("g",)).chain_method == "vectorized"
    assert Contender.parse("e@centered", ("g",)).name == "e:s@centered,sequential"
