"""Rows that are read in batches and forgotten: the same problem as of the whole table; what is refused."""

import io
import json
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from rich.console import Console

from nestor import DataError, ModelSpec, Problem, SpecError, Unsupported
from nestor.data.index import build_index
from nestor.data.index.growing_tree import GrowingTree
from nestor.views.terminal.progress import reading_bar

N = 600
FULL = "y ~ x + z + offset(`e 1`) + (x || state) + (1 || state:county)"


def make_table(n=N, seed=6):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "state": rng.choice(["CA", "IL", "WA", "é/☃"], n),
            "county": rng.choice(["Lake", "Cook", "", "b\\"], n),
            "number": rng.integers(-3, 3, n),
            "day": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 3, n), "D"),
            "flag": rng.random(n) < 0.5,
            "real": rng.choice([0.5, -0.0, 0.0, 1e300], n),
            "x": rng.normal(size=n),
            "z": 100.0 + rng.normal(size=n),
            "e 1": rng.normal(size=n),
            "w": np.exp(rng.normal(size=n)),
            "i": rng.integers(1, 9, n),
        }
    )
    return table.assign(y=1000.0 + table.x + rng.normal(size=n))


TABLE = make_table()


def spec_of(formula=FULL, **arguments):
    return ModelSpec.from_formula(formula, **arguments)


def written(folder, table=TABLE, name="rows.parquet", **arguments):
    path = folder / name
    table.to_parquet(path, index=False, **arguments)
    return path


def batches_of(table, size):
    return [table.iloc[start : start + size] for start in range(0, len(table), size)]


def assert_same_tree(found, wanted):
    assert found.index.names == wanted.index.names
    for own, other in zip(found.index.levels, wanted.index.levels, strict=True):
        assert list(own.paths) == list(other.paths)
        assert list(own.label_text) == list(other.label_text)
        assert np.array_equal(own.parent, other.parent)
    assert np.array_equal(found.index.rows_per_leaf, wanted.index.rows_per_leaf)


def assert_same_problem(found, wanted):
    assert_same_tree(found, wanted)
    assert found.n_rows == wanted.n_rows
    assert found.scalars.labels == wanted.scalars.labels
    assert {n: list(c) for n, c in found.coords.items()} == {
        n: list(c) for n, c in wanted.coords.items()
    }
    assert {v.name: v.shape for v in found.variables.values()} == {
        v.name: v.shape for v in wanted.variables.values()
    }
    own, other = found.priors.by_address(), wanted.priors.by_address()
    assert list(own) == list(other)
    assert found.priors.automatic == wanted.priors.automatic
    for address, prior in own.items():
        assert prior.args == pytest.approx(other[address].args, rel=1e-12), address
    s, t = found.statistics, wanted.statistics
    for name in ("root", "fit", "residual"):
        a, b = getattr(s, name), getattr(t, name)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13 * np.abs(b).max())
    assert np.array_equal(s.rows_per_leaf, t.rows_per_leaf)
    assert s.sum_log_weights == pytest.approx(t.sum_log_weights, rel=1e-12)


# --- the same problem -------------------------------------------------------------------------


@pytest.mark.parametrize("batch_rows", [1, 7, 250, 10**6])
@pytest.mark.parametrize("group_rows", [64, 10**6])
def test_a_file_is_the_problem_of_its_table(tmp_path, batch_rows, group_rows):
    path = written(tmp_path, row_group_size=group_rows)
    spec = spec_of(weights="w", scale={"county": "parent"})
    found = Problem.from_parquet(spec, path, batch_rows=batch_rows)
    assert_same_problem(found, Problem(spec, TABLE))


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ 1 + (1 || state/county)",
        "y ~ 0 + x + (0 + x || state)",
        "y ~ 1 + x + (0 + x || state)",
        "log(w) ~ x:z + I(x**2) + sqrt(i) + flag + (1 || number/county)",
    ],
)
def test_other_descriptions(formula):
    spec = spec_of(formula)
    found = Problem.from_batches(spec, batches_of(TABLE, 100))
    assert_same_problem(found, Problem(spec, TABLE))


@pytest.mark.parametrize("level", ["number", "day", "flag", "real", "county"])
@pytest.mark.parametrize("batch_rows", [11, 10**6])
def test_labels_of_every_type_are_those_of_the_whole_table(tmp_path, level, batch_rows):
    spec = spec_of(f"y ~ 1 + (1 || {level}/state)")
    path = written(tmp_path)
    found = Problem.from_parquet(spec, path, batch_rows=batch_rows)
    assert_same_problem(found, Problem(spec, pd.read_parquet(path)))


@pytest.mark.parametrize("level", ["state", "number", "day", "real"])
def test_missing_keys_are_a_group_where_that_is_asked_for(tmp_path, level):
    table = TABLE.assign(**{level: TABLE[level].where(np.arange(N) % 37 != 0)})
    spec = spec_of(f"y ~ 1 + (1 || {level}/county)")
    path = written(tmp_path, table)
    found = Problem.from_parquet(spec, path, batch_rows=50, missing="group")
    whole = Problem(spec, pd.read_parquet(path), missing="group")
    assert_same_problem(found, whole)
    assert found.coords[level][-1] == "(missing)"
    with pytest.raises(DataError, match=rf"rows.parquet, row group 0.*2 in column '{level}'"):
        Problem.from_parquet(spec, path, batch_rows=50)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("batch_rows", [13, 10**6])
def test_categories_keep_their_order_only_where_they_have_one(tmp_path, ordered, batch_rows):
    kind = pd.CategoricalDtype(["WA", "IL", "é/☃", "CA", "unused"], ordered=ordered)
    table = TABLE.assign(state=TABLE.state.astype(kind))
    spec = spec_of("y ~ 1 + (1 || state/county)")
    whole = Problem(spec, table)
    path = written(tmp_path, table, row_group_size=100)
    assert_same_problem(Problem.from_parquet(spec, path, batch_rows=batch_rows), whole)
    assert_same_problem(Problem.from_batches(spec, batches_of(table, 100)), whole)


def test_categories_in_another_order_are_refused():
    kinds = [pd.CategoricalDtype(order, ordered=True) for order in (["CA", "IL"], ["IL", "CA"])]
    few = TABLE[TABLE.state.isin(["CA", "IL"])]
    tables = [few.assign(state=few.state.astype(kind)) for kind in kinds]
    with pytest.raises(DataError, match=r"table 1: column 'state' is an ordered categorical"):
        Problem.from_batches(spec_of("y ~ 1 + (1 || state)"), tables)


@pytest.mark.parametrize("source", ["folder", "list"])
def test_several_files_are_one_table(tmp_path, source):
    paths = [
        written(tmp_path, t, f"part-{k}.parquet") for k, t in enumerate(batches_of(TABLE, 170))
    ]
    spec = spec_of(weights="w")
    found = Problem.from_parquet(spec, tmp_path if source == "folder" else paths, batch_rows=99)
    assert_same_problem(found, Problem(spec, TABLE))


def test_text_may_be_stored_in_several_ways(tmp_path):
    kinds = (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()))
    paths = []
    for k, (table, kind) in enumerate(zip(batches_of(TABLE, 200), kinds, strict=True)):
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        at = arrow.column_names.index("state")
        paths.append(tmp_path / f"{k}.parquet")
        parquet.write_table(arrow.set_column(at, "state", arrow["state"].cast(kind)), paths[-1])
    spec = spec_of()
    assert_same_problem(Problem.from_parquet(spec, paths), Problem(spec, TABLE))


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_batches_may_be_arrow_or_nullable(backend):
    spec = spec_of(weights="w")
    nullable = batches_of(TABLE.convert_dtypes(dtype_backend=backend), 123)
    arrow = [pa.Table.from_pandas(t, preserve_index=False) for t in batches_of(TABLE, 123)]
    for tables in (nullable, arrow):
        found = Problem.from_batches(spec, iter(tables))
        assert_same_problem(found, Problem(spec, TABLE))


def test_the_order_of_rows_does_not_matter():
    spec = spec_of(weights="w")
    mixed = TABLE.sample(frac=1, random_state=3)
    by_leaf = TABLE.sort_values(["state", "county"])
    whole = Problem(spec, TABLE)
    for table in (mixed, by_leaf):
        assert_same_problem(Problem.from_batches(spec, batches_of(table, 77)), whole)


def test_a_tree_that_grows_is_the_tree_of_all_rows():
    """Many leaves, most of them of one row, and new ones in every batch."""
    rng = np.random.default_rng(0)
    keys = pd.DataFrame({"a": rng.integers(0, 9, 5000), "b": rng.integers(0, 4000, 5000)})
    tree, counts = GrowingTree(["a", "b"], "error"), np.zeros(5000, dtype=np.int64)
    for part in batches_of(keys, 600):
        here, leaf = tree.add(pa.Table.from_pandas(part, preserve_index=False))
        counts[leaf] += np.bincount(here)
    found, order = tree.index(counts[: tree.n_leaves])
    wanted = build_index(keys, ["a", "b"])
    assert np.array_equal(found.rows_per_leaf, wanted.rows_per_leaf)
    assert np.array_equal(np.sort(order), np.arange(wanted.n_leaves))
    for own, other in zip(found.levels, wanted.levels, strict=True):
        assert np.array_equal(own.parent, other.parent)
        assert np.array_equal(own.labels, other.labels)


# --- a problem without rows -------------------------------------------------------------------


@pytest.fixture(scope="module")
def streamed():
    return Problem.from_batches(spec_of(weights="w"), batches_of(TABLE, 250))


@pytest.mark.parametrize("name", ["y", "X", "Z", "leaf", "offset", "weights", "order", "rows"])
def test_rows_that_are_not_there_say_what_to_do(streamed, name):
    with pytest.raises(DataError, match=r"not in memory.*marginalized"):
        getattr(streamed, name)


def test_it_goes_to_another_process_with_its_statistics(streamed):
    again = pickle.loads(pickle.dumps(streamed))
    assert again.fingerprint == streamed.fingerprint
    assert np.array_equal(again.statistics.fit, streamed.statistics.fit)
    assert not again.has_rows


def test_its_fingerprint_changes_with_the_data(streamed):
    changed = TABLE.assign(y=TABLE.y.where(TABLE.index != 7, TABLE.y + 1e-3))
    spec = spec_of(weights="w")
    prints = {
        Problem.from_batches(spec, batches_of(table, 250)).fingerprint
        for table in (TABLE, changed, TABLE.replace({"county": {"Lake": "lake"}}))
    }
    assert len(prints) == 3
    assert streamed.fingerprint in prints


def test_what_needs_rows_is_refused(streamed):
    for call in (lambda: streamed.repeated(2), lambda: streamed.with_outcome(TABLE.y)):
        with pytest.raises(DataError, match="not in memory"):
            call()


def test_progress_counts_rows(tmp_path):
    seen = []
    Problem.from_parquet(
        spec_of(), written(tmp_path), batch_rows=250, progress=lambda *two: seen.append(two)
    )
    assert seen == [(250, N), (500, N), (N, N)]


def test_a_bar_shows_how_far_it_is(tmp_path):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with reading_bar(console) as progress:
        Problem.from_parquet(spec_of(), written(tmp_path), batch_rows=500, progress=progress)
        progress(1_500, 3_000)
    assert "reading rows" in out.getvalue()
    assert "1,500 of 3,000" in out.getvalue()


# --- what does not fit ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": TABLE.x.where(TABLE.index != 301)}, r"column 'x' has 1 missing value \(row 1\)"),
        ({"y": TABLE.y.where(TABLE.index != 301)}, r"column 'y' has 1 missing value \(row 1\)"),
        ({"x": TABLE.x.where(TABLE.index != 301, np.inf)}, r"column 'x' has 1 infinite"),
        ({"e 1": TABLE.x.where(TABLE.index != 301)}, r"column 'e 1' has 1 missing"),
        (
            {"w": TABLE.w.where(TABLE.index != 301, 0.0)},
            r"weights column 'w' has 1 value\(s\) <= 0",
        ),
        ({"w": TABLE.w.where(TABLE.index != 301)}, r"column 'w' has 1 missing"),
        ({"state": TABLE.state.where(TABLE.index != 301)}, r"1 in column 'state' \(rows 1\)"),
    ],
)
def test_bad_values_are_found_in_their_row_group(tmp_path, changes, message):
    path = written(tmp_path, TABLE.assign(**changes), row_group_size=100)
    where = r"rows.parquet, row group 3, rows numbered from the file's row 300: .*"
    with pytest.raises(DataError, match=where + message):
        Problem.from_parquet(spec_of(weights="w"), path, batch_rows=100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": 3.0}, r"predictor 'x' is constant \(3 in every row\)"),
        ({"z": 0.1}, r"predictor 'z' is constant \(0.1 in every row\)"),
        ({"y": 0.1, "e 1": 0.0}, "the outcome is constant"),
        ({"state": "CA"}, r"level 'state' has a single node \('CA'\)"),
    ],
)
def test_what_all_rows_together_show_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        Problem.from_batches(spec_of(), batches_of(TABLE.assign(**changes), 97))


@pytest.mark.parametrize("column", ["x", "z", "e 1", "w", "y", "state", "county"])
def test_columns_that_are_not_there_are_named(tmp_path, column):
    table = TABLE.drop(columns=column)
    with pytest.raises(DataError, match=rf"rows.parquet: no column '{column}'"):
        Problem.from_parquet(spec_of(weights="w"), written(tmp_path, table))
    with pytest.raises(DataError, match=rf"table 0: no column '{column}'"):
        Problem.from_batches(spec_of(weights="w"), [table])


def test_a_column_that_is_no_number_is_refused_before_anything_is_read(tmp_path):
    written(tmp_path, TABLE, "a.parquet")
    written(tmp_path, TABLE.assign(x="high"), "b.parquet")
    with pytest.raises(DataError, match=r"b.parquet: column 'x' is not numeric"):
        Problem.from_parquet(spec_of(), tmp_path)


def test_files_whose_labels_have_different_types_are_refused(tmp_path):
    written(tmp_path, TABLE, "a.parquet")
    written(tmp_path, TABLE.assign(state=1), "b.parquet")
    with pytest.raises(DataError, match=r"b.parquet: column 'state' has labels of type int64"):
        Problem.from_parquet(spec_of(), tmp_path)
    with pytest.raises(DataError, match=r"table 1: column 'state' holds labels of type int64"):
        Problem.from_batches(spec_of(), [TABLE, TABLE.assign(state=1)])


@pytest.mark.parametrize("cut", [0.999, 0.5, 0.0])
def test_a_file_that_ends_early_is_named(tmp_path, cut):
    path = written(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    message = "rows.parquet cannot be read as Parquet, or ends early" if cut else "is empty"
    with pytest.raises(DataError, match=message):
        Problem.from_parquet(spec_of(), path)


def test_a_page_that_is_broken_is_named_with_its_row_group(tmp_path):
    path = written(tmp_path, row_group_size=100, compression="gzip")
    footer = parquet.ParquetFile(path).metadata
    at = footer.schema.names.index("x")
    column = footer.row_group(4).column(at)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"rows.parquet, row group 4 cannot be read as Parquet"):
        Problem.from_parquet(spec_of(), path, batch_rows=100)


def test_files_that_are_not_there_or_have_no_rows_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        Problem.from_parquet(spec_of(), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="has no files"):
        Problem.from_parquet(spec_of(), tmp_path)
    with pytest.raises(DataError, match="no Parquet file is given"):
        Problem.from_parquet(spec_of(), [])
    with pytest.raises(DataError, match=r"rows.parquet: there are no rows"):
        Problem.from_parquet(spec_of(), written(tmp_path, TABLE.iloc[:0]))
    with pytest.raises(DataError, match="there are no rows"):
        Problem.from_batches(spec_of(), [])


def test_a_file_without_rows_among_others_changes_nothing(tmp_path):
    written(tmp_path, TABLE.iloc[:0], "a.parquet")
    written(tmp_path, TABLE, "b.parquet")
    spec = spec_of()
    assert_same_problem(Problem.from_parquet(spec, tmp_path), Problem(spec, TABLE))


def test_tables_of_another_kind_are_refused():
    with pytest.raises(DataError, match="table 1: it must be a pandas DataFrame"):
        Problem.from_batches(spec_of(), [TABLE, {"y": [1.0]}])
    mixed = TABLE.assign(state=[1, "a"] * (N // 2))
    with pytest.raises(DataError, match="table 0: column 'state' mixes labels of types int"):
        Problem.from_batches(spec_of(), [mixed])
    with pytest.raises(SpecError, match="takes a ModelSpec"):
        Problem.from_batches("y ~ x", [TABLE])


@pytest.mark.parametrize(
    ("formula", "arguments", "message"),
    [
        ("y ~ x + (x || state)", {"family": "student_t"}, "'y' is student_t"),
        ("y ~ scale(x) + (1 || state)", {}, r"scale\(x\) needs the mean of all rows"),
        ("y ~ x + (x:log(scale(z)) || state)", {}, r"scale\(z\) needs the mean"),
        ("center(y) ~ x + (1 || state)", {}, r"center\(y\) needs the mean"),
    ],
)
def test_what_cannot_be_done_in_one_pass_is_refused(tmp_path, formula, arguments, message):
    spec = spec_of(formula, **arguments)
    with pytest.raises(Unsupported, match=message):
        Problem.from_batches(spec, [TABLE])
    with pytest.raises(Unsupported, match=message):
        Problem.from_parquet(spec, written(tmp_path))


def test_priors_of_the_user_are_kept():
    spec = spec_of(priors={"sigma": "HalfNormal(3)", "beta[x]": "Normal(0, 7)"})
    found = Problem.from_batches(spec, [TABLE])
    assert str(found.priors.family["sigma"]) == "HalfNormal(3)"
    assert json.dumps(sorted(found.priors.automatic)) == json.dumps(
        sorted(Problem(spec, TABLE).priors.automatic)
    )


@pytest.mark.parametrize("factor", [1e-140, 1e140])
def test_automatic_priors_hold_over_the_range_of_doubles(factor):
    spec = spec_of("y ~ x + (x || state)")
    table = TABLE.assign(y=TABLE.y * factor)
    found = Problem.from_batches(spec, batches_of(table, 100))
    whole = Problem(spec, table)
    for address, prior in found.priors.by_address().items():
        assert prior.args == pytest.approx(whole.priors.by_address()[address].args, rel=1e-12)


def test_long_whole_numbers_beside_a_gap_keep_their_digits():
    labels = [2**53, None, 2**53 + 1, 2**53 + 2]
    table = pd.DataFrame({"g": pd.Series(labels, dtype="Int64"), "y": [1.0, 2.0, 4.0, 8.0]})
    spec = ModelSpec.from_formula("y ~ 1 + (1 | g)")
    found = Problem.from_batches(spec, [table.iloc[:2], table.iloc[2:]], missing="group")
    assert list(found.index.levels[0].paths) == [*map(str, labels[:1] + labels[2:]), "(missing)"]
