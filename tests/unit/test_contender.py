"""Contenders: the grammar, canonical names, file names, seeds."""

import pytest

from nestor import SamplerConfig
from nestor.engines.contender import Contender
from nestor.errors import SpecError, Unsupported

pytestmark = pytest.mark.usefixtures("fake_engines")
LEVELS = ("degree", "state")


def parse(text, levels=LEVELS):
    return Contender.parse(text, levels)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("exact", "exact:iid@auto"),
        ("exact@auto", "exact:iid@auto"),
        (" exact:iid@sequential ", "exact:iid@auto,sequential"),
        ("exact@noncentered", "exact:iid@noncentered"),
        ("exact@rows,float64,cpu,parallel", "exact:iid@noncentered"),
        ("exact@centered", "exact:iid@centered"),
        ("exact@centered,centered,cpu,cpu", "exact:iid@centered"),
        ("exact@ sequential , state=centered", "exact:iid@noncentered,state=centered,sequential"),
        ("exact@degree=centered,state=centered", "exact:iid@centered"),
        ("exact@centered,degree=noncentered", "exact:iid@noncentered,state=centered"),
        ("reference", "reference:exact@auto"),
        ("reference@statistics", "reference:exact@noncentered,statistics"),
        (
            "reference@statistics,state=centered",
            "reference:exact@noncentered,state=centered,statistics",
        ),
        ("reference@marginalized", "reference:exact@marginalized"),
        ("reference@statistics,marginalized", "reference:exact@marginalized"),
    ],
)
def test_every_spelling_has_one_name_that_reads_back(text, name):
    found = parse(text)
    assert found.name == name
    assert parse(name) == found


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", SpecError, "an engine is text"),
        ("  ", SpecError, "an engine is text"),
        (None, SpecError, "not None"),
        (["exact"], SpecError, "an engine is text"),
        ("exact@", SpecError, "cannot read the engine 'exact@': write ENGINE"),
        ("exact@centered,", SpecError, "cannot read the engine"),
        ("exact@,centered", SpecError, "cannot read the engine"),
        ("stan", SpecError, "unknown engine 'stan'"),
        ("@centered", SpecError, "unknown engine ''"),
        ("exact:", SpecError, "has no sampler ''; it has iid"),
        ("exact:nuts", SpecError, "has no sampler 'nuts'; it has iid"),
        ("reference:nuts", SpecError, "no sampler 'nuts'; it has exact"),
        ("exact@cozy", SpecError, "unknown word 'cozy'"),
        ("exact@Centered", SpecError, "unknown word 'Centered'"),
        (
            "exact@state=cozy",
            SpecError,
            r"unknown word 'cozy' for the level 'state': write state=centered or state=noncentered\.$",
        ),
        ("exact@state=centred", SpecError, r"noncentered\. Did you mean 'state=centered'\?$"),
        ("exact@state=", SpecError, "unknown word '' for the level 'state'"),
        ("exact@county=cozy", SpecError, "no level 'county'; the levels are"),
        ("exact@county=centered", SpecError, "no level 'county'; the levels are"),
        ("exact@centered,noncentered", SpecError, "both centered and noncentered"),
        ("exact@cpu,gpu", SpecError, "says both cpu and gpu"),
        ("exact@float32,float64", SpecError, "says both float32 and float64"),
        ("exact@parallel,sequential", SpecError, "says both parallel and sequential"),
        ("exact@gpu", Unsupported, "'exact:iid' cannot run gpu"),
        ("exact@float32", Unsupported, "cannot run float32"),
        ("exact@vectorized", Unsupported, "cannot run vectorized"),
        ("reference@gpu", Unsupported, "cannot run gpu: never: the oracle is plain NumPy"),
        ("exact@marginalized", Unsupported, "cannot run marginalized: its capabilities do not"),
        ("exact@statistics", Unsupported, "cannot run statistics: its capabilities do not"),
        ("reference@marginalized,rows", SpecError, "marginalized cannot be combined with 'rows'"),
        ("reference@marginalized,centered", SpecError, "cannot be combined with 'centered'"),
        ("reference@rows,statistics", SpecError, "both rows and statistics"),
        ("exact@auto,centered", SpecError, "auto chooses the formulation; leave out 'centered'"),
    ],
)
def test_what_is_not_of_the_grammar_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        parse(text)


def test_a_backend_that_lacks_a_formulation_refuses_it(monkeypatch):
    from dataclasses import replace

    from nestor.engines import registry

    backend = registry.get("exact").backend
    less = replace(backend.capabilities(), centering=frozenset({"centered"}))
    monkeypatch.setattr(type(backend), "capabilities", lambda self: less)
    assert parse("exact@centered").formulation.words == ("centered",)
    with pytest.raises(Unsupported, match="cannot run noncentered: its capabilities do not"):
        parse("exact@centered,state=noncentered")


def test_levels_may_be_called_like_words():
    levels = ("rows", "gpu", "auto", "a=b", "a@b")
    found = parse("exact@gpu=centered,a=b=centered,a@b=centered", levels)
    assert [found.formulation.is_centered(level) for level in levels] == [0, 1, 0, 1, 1]
    assert found.device == "cpu"
    assert parse(found.name, levels) == found


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("exact", "exact-iid@auto"),
        ("exact@noncentered", "exact-iid@noncentered"),
        ("exact@state=centered,sequential", "exact-iid@noncentered,state=centered,sequential"),
        ("reference@marginalized", "reference-exact@marginalized"),
    ],
)
def test_file_names_are_the_names_with_a_dash(text, stem):
    assert parse(text, (*LEVELS, "county")).file_stem == stem


@pytest.mark.parametrize("level", ["a b", "a/b", "..", "a\\b", "a:b", 'a"b', "ü", "☃", "x" * 300])
def test_odd_levels_give_file_names_that_can_be_written_and_differ(level, tmp_path):
    levels = (level, level + "-", "third")
    texts = [f"exact@{each}=centered" for each in levels]
    stems = [parse(text, levels).file_stem for text in texts]
    assert len(set(stems)) == 3
    for stem in stems:
        (tmp_path / f"{stem}.nc").write_text("")
        assert not set(stem) & set('/\\:*?"<>| ')
        assert len(f"{stem}.nc.partial".encode()) <= 255
    assert len(list(tmp_path.iterdir())) == 3


def test_seeds_are_stable_and_differ_between_contenders_and_seeds():
    texts = ["exact@noncentered", "exact@centered", "exact@noncentered,sequential"]
    texts += ["exact2@noncentered", "exact@state=centered"]
    seeds = {parse(t).config(SamplerConfig(seed=s)).seed for t in texts for s in (0, 1, 2)}
    assert len(seeds) == 15
    assert all(0 <= seed < 2**31 for seed in seeds)
    # A run is resumed by its seed, so that this number may change only with a reason.
    assert parse("exact@noncentered").config(SamplerConfig(seed=1)).seed == STABLE


#: SeedSequence([1, the first 8 bytes of sha256("exact:iid@noncentered"), little-endian]), 31 bits.
STABLE = 450594435


def test_the_config_takes_the_chain_method_and_keeps_the_rest():
    config = SamplerConfig(chains=3, warmup=7, draws=9, target_accept=0.9, cores=2)
    found = parse("exact@sequential").config(config)
    assert found.chain_method == "sequential"
    assert (found.chains, found.warmup, found.draws) == (3, 7, 9)
    assert (found.target_accept, found.cores) == (0.9, 2)


def test_chains_on_a_gpu_are_vectorized_unless_told():
    """Said in the canonical name, so that no record leaves it open."""
    found = Contender.parse("numpyro@gpu,noncentered", ("g",))
    assert found.chain_method == "vectorized"
    assert found.name == "numpyro:nuts@noncentered,gpu,vectorized"
    assert Contender.parse("numpyro@gpu,sequential", ("g",)).chain_method == "sequential"


def test_what_auto_chose_is_a_contender_like_one_that_was_named(small_problem):
    named = Contender.parse("reference@marginalized", ("g", "h"))
    asked = Contender.parse("reference", ("g", "h"))
    found = asked.resolve_formulation(small_problem)
    assert (asked.auto, found.auto) == (True, False)
    assert found == named
    assert found.config(SamplerConfig()) == named.config(SamplerConfig())
    assert found.reason
    assert found.requested_name == asked.name == "reference:exact@auto"
    assert found.resolve_formulation(small_problem) is found
    assert named.resolve_formulation(small_problem) is named
    assert (named.reason, named.requested_name) == ("", named.name)


def test_a_level_may_have_commas_in_its_name():
    levels = ("a,b", "a", "c, d")
    found = Contender.parse("exact@a,b=centered,a=noncentered,c, d=centered,float64", levels)
    assert found.formulation.centering == ("centered", "noncentered", "centered")
    assert Contender.parse(found.name, levels) == found
