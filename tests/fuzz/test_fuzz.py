"""Whatever is in a table, a file, an argument or a path: an answer, or one of nestor's errors, never another.

The cases are the same in each run, a few hundred; `make fuzz` runs 20,000 new ones.
"""

import contextlib

import numpy as np
import odd
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestor import ModelSpec, Prior, Problem, SamplerConfig, build_index, read_table
from nestor.agreement.arguments import check_timeout
from nestor.agreement.criteria import Criteria
from nestor.bench.plan import plan
from nestor.bench.run import check_budget
from nestor.bench.scenario import load_scenario, read_scenario
from nestor.calibration.run import check_study
from nestor.data.datasets.simulate import simulate_tree
from nestor.data.datasets.tree_design import check_simulation
from nestor.engines.contender import Contender
from nestor.errors import NestorError
from nestor.runner.datatree import to_datatree
from nestor.runner.netcdf import write_netcdf

MISSING = st.sampled_from(["error", "group"])
SPEC = ModelSpec.from_formula("y ~ x + exp(w) + (1 | g)")
pytestmark = pytest.mark.filterwarnings("ignore")


@contextlib.contextmanager
def only_ours():
    """Let nestor's errors pass; their message is a few lines, whatever was given."""
    message = ""
    try:
        yield
    except NestorError as error:
        message = str(error)
    assert len(message) < 3000, message[:3000]


@odd.fuzzed(0.18)
@given(odd.tables(["g", "h"]), MISSING)
def test_paths_of_an_index_are_unique(table, missing):
    with only_ours():
        index = build_index(table.frame, ["g", "h"], missing=missing)
        for level in index.levels:
            assert len(set(level.paths)) == level.n
            assert len(level.labels) == level.n
            pairs = list(zip(level.parent, level.label_text, strict=True))
            assert len(set(pairs)) == level.n
            "".join(level.paths).encode()
        assert index.rows_per_leaf.sum() == len(table.frame)
        assert index.summary().rows == len(table.frame)


@odd.fuzzed(0.15)
@given(odd.columns(8).map(lambda c: odd.Odd(pd.DataFrame({"g": c}))), MISSING)
def test_an_index_in_batches_is_that_of_the_whole_table(table, missing):
    frame = table.frame.assign(y=np.arange(8.0) % 5, x=np.arange(8.0) % 3)
    spec = ModelSpec.from_formula("y ~ x + (1 | g)")
    batched = None
    with only_ours():
        batched = Problem.from_batches(spec, [frame.iloc[:3], frame.iloc[3:]], missing=missing)
    if batched is None:
        return
    whole = Problem(spec, frame, missing=missing)  # what is accepted there is accepted here, too
    (found,), (wanted,) = batched.index.levels, whole.index.levels
    assert list(found.paths) == list(wanted.paths)
    assert np.array_equal(batched.index.rows_per_leaf, whole.index.rows_per_leaf)


@odd.fuzzed(0.2)
@given(odd.model_tables(), MISSING)
def test_a_problem_has_finite_numbers(table, missing):
    with only_ours():
        problem = Problem(SPEC, table.frame, missing=missing)
        assert np.isfinite(problem.y).all()
        assert np.isfinite(problem.X).all()
        assert np.isfinite(problem.Z).all()


@odd.fuzzed(0.02)
@given(odd.columns(8).map(lambda c: odd.Odd(pd.DataFrame({"g": c}))))
def test_draws_of_any_labels_can_be_written(tmp_path_factory, table):
    frame = table.frame.assign(y=np.arange(8.0) % 5, x=np.arange(8.0) % 3)
    with only_ours():
        problem = Problem(ModelSpec.from_formula("y ~ x + (1 | g)"), frame, missing="group")
        values = {name: np.ones((1, 2, *v.shape)) for name, v in problem.variables.items()}
        tree = to_datatree(problem, _Drawn(values), {})
        write_netcdf(tree, tmp_path_factory.mktemp("draws") / "draws.nc")


class _Drawn:
    """Draws of a sampler."""

    def __init__(self, values):
        self.values, self.stats = values, {}


@odd.fuzzed(0.1)
@given(st.one_of(odd.toml(odd.VALID_MODEL), odd.toml(odd.VALID_FIELDS)))
def test_descriptions(text):
    with only_ours():
        spec = ModelSpec.from_toml(text)
        assert ModelSpec.from_toml(spec.to_toml()) == spec


@odd.fuzzed(0.1)
@given(odd.toml(odd.VALID_SCENARIO), st.booleans())
def test_scenarios(text, quick):
    with only_ours():
        scenario = read_scenario(text, "odd.toml", quick=quick)
        planned = plan(scenario, quick=quick)
        for cell in planned.left:
            assert planned.forecast.seconds(cell) >= 0


_SIMULATED = {"depth": 2} | {
    name: value for name, value in simulate_tree.__kwdefaults__.items() if name != "depth"
}
_CONFIG = tuple(SamplerConfig.__dataclass_fields__)


@odd.fuzzed(0.1)
@given(st.data())
def test_arguments(small_problem, data):
    """One argument of each function is anything at all."""
    value = data.draw(odd.arguments)
    with only_ours():
        SamplerConfig(**{data.draw(st.sampled_from(_CONFIG)): value})
    for name in ("margin", "until_verdict"):
        with only_ours():
            Criteria(**{name: value})
    for check in (check_timeout, check_budget):
        with only_ours():
            check(value)
    for position in range(5):
        given_ = [10, "prior", 63, None, None]
        given_[position] = value
        with only_ours():
            check_study(small_problem, "reference:exact", SamplerConfig(), *given_)
    with only_ours():
        Contender.parse(value, ("g", "h"))
    with only_ours():
        check_simulation(_SIMULATED | {data.draw(st.sampled_from(sorted(_SIMULATED))): value})
    for arguments in (
        (value, (1.0,)),
        ("Normal", value),
        ("Gamma", (2, value)),
        ("Gamma", (value, 2)),
    ):
        with only_ours():
            _check_density(Prior(*arguments))
    with only_ours():
        Prior.parse(value)
    for name in ("family", "priors", "scale", "offset", "weights"):
        with only_ours():
            ModelSpec.from_formula("y ~ x + (1 | g)", **{name: value})
    with only_ours():
        build_index(pd.DataFrame({"g": ["a", "b"]}), value)
    with only_ours():
        ModelSpec.from_formula(value)


def _check_density(prior):
    """The density is known everywhere, and is zero outside the bounds."""
    if prior.is_fixed:
        return
    low, high = prior.bounds
    x = np.array([-1e300, -1.0, -5e-324, 0.0, 5e-324, 1e-300, 1e-16, 1.0, 1e16, 1e300])
    with np.errstate(all="ignore"):
        density = prior.scipy().logpdf(x)
    assert not np.isnan(density).any()
    assert (density[(x < low) | (x > high)] == -np.inf).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with things that are no tables."""
    folder = tmp_path_factory.mktemp("paths")
    (folder / "file").write_text("x")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    return folder


@odd.fuzzed(0.05)
@given(path=st.one_of(odd.paths(), odd.arguments))
def test_paths(folder, path):
    with contextlib.chdir(folder):
        with only_ours():
            read_table(path)
        with only_ours():
            Problem.from_parquet(SPEC, path)
        if isinstance(path, str):
            with only_ours():
                load_scenario(path)


LABELS = (
    "0", "1", "01", "1.0", "1.", "+1", "-1", "-0", "0.0", "-0.0", "1E2", "1e2", "100", "1e400",
    "inf", "nan", "NaN",
    "NA", "", " 1", "TRUE", "true", "True", "False", "FALSE", "9007199254740993", "9007199254740992",
    "18446744073709551615", "18446744073709551616", "9" * 30, "0x10", "1_000", "a", "a b", "é",
)  # fmt: skip


@odd.fuzzed(0.1)
@given(
    st.lists(st.sampled_from(LABELS), min_size=1, max_size=4).flatmap(
        lambda pool: st.lists(st.sampled_from(pool), min_size=2, max_size=8)
    ),
    st.sampled_from(["labels.csv", "labels.tsv", "labels.csv.gz"]),
)
def test_labels_of_text_files_are_as_many_as_their_spellings(folder, labels, name):
    path, separator = folder / name, "\t" if ".tsv" in name else ","
    frame = pd.DataFrame({"y": [f"{i}.5" for i in range(len(labels))], "g": labels})
    frame.to_csv(path, index=False, sep=separator)
    spelt = {label for label in labels if label not in ("", "NA", "nan", "NaN")}
    table = read_table(path, levels=["g"])
    assert table["g"].isna().sum() == sum(label not in spelt for label in labels)
    assert build_index(table, ["g"], missing="group").levels[0].n == len(
        set(labels) & spelt
    ) + bool(set(labels) - spelt)
    with only_ours():  # without being told which are labels: the same nodes, or a refusal
        guessed = build_index(read_table(path), ["g"], missing="group").levels[0]
        wanted = build_index(table, ["g"], missing="group").levels[0]
        assert sorted(guessed.paths) == sorted(
            wanted.paths
        )  # pandas keeps numbers of 64 bits as text
