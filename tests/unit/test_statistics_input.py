"""What may be read in batches: which files of a folder, which columns, and which arguments."""

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nestor import DataError, ModelSpec, Problem, SpecError, read_table

N = 60
SPEC = ModelSpec.from_formula("y ~ x + (x || g/h)")


def make_table():
    rng = np.random.default_rng(3)
    keys = {"g": rng.choice(["a", "b", "c"], N), "h": rng.choice(["x", "y"], N)}
    return pd.DataFrame(keys | {"x": rng.normal(size=N), "y": rng.normal(size=N)})


TABLE = make_table()


def assert_refused_alike(table, message):
    """A table and its rows in batches are refused with one message."""
    with pytest.raises(DataError, match=message):
        Problem(SPEC, table)
    with pytest.raises(DataError, match=r"table 1: " + message):
        Problem.from_batches(SPEC, [TABLE, table])


# --- the files of a folder --------------------------------------------------------------------


@pytest.mark.parametrize(
    "beside",
    [".tmp.parquet", "_temporary/a.parquet", "_metadata.parquet", "in/.hidden/deep/a.parquet"],
)
def test_hidden_and_temporary_files_are_no_data(tmp_path, beside):
    folder = tmp_path / "_data"  # its own name does not matter
    for name in ("a.parquet", "in/b.parquet", beside):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        TABLE.to_parquet(folder / name)
    assert Problem.from_parquet(SPEC, folder).n_rows == 2 * N


def test_a_folder_called_like_a_file_is_a_folder(tmp_path):
    (tmp_path / "rows.parquet").mkdir()
    TABLE.to_parquet(tmp_path / "rows.parquet" / "part-0.snappy.parquet")
    (tmp_path / "rows.parquet" / "_SUCCESS").touch()
    for path in (tmp_path, tmp_path / "rows.parquet"):
        assert Problem.from_parquet(SPEC, path).n_rows == N


def test_a_folder_with_hidden_files_only_has_none(tmp_path):
    TABLE.to_parquet(tmp_path / ".a.parquet")
    with pytest.raises(DataError, match=r"has no files \*.parquet \(names that begin with"):
        Problem.from_parquet(SPEC, tmp_path)


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    TABLE.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").symlink_to(tmp_path / "gone.parquet")
    with pytest.raises(DataError, match=r"there is no file .*b.parquet"):
        Problem.from_parquet(SPEC, tmp_path)


def test_columns_that_are_names_of_folders_are_explained(tmp_path):
    TABLE.to_parquet(tmp_path / "rows", partition_cols=["g"])
    message = (
        r"no column 'g' in the table.*'g' is in the names of folders \(g=a/\), which are not read"
    )
    with pytest.raises(DataError, match=message):
        Problem.from_parquet(SPEC, tmp_path / "rows")
    (tmp_path / "x=1").mkdir()
    TABLE.drop(columns="y").to_parquet(tmp_path / "x=1" / "a.parquet")
    with pytest.raises(DataError, match=r"no column 'y' in the table. It has: 'g', 'h', 'x'.$"):
        Problem.from_parquet(SPEC, tmp_path / "x=1")


# --- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([[label] for label in TABLE.h], "list"),
        ([{"a": label} for label in TABLE.h], r"(dict|struct<a: string>)"),
        ([(label, label) for label in TABLE.h], r"(tuple|list<item: string>)"),
        ([(label, 1) for label in TABLE.h], "tuple"),
        ([label.encode() for label in TABLE.h], r"(bytes|binary)"),
        ([decimal.Decimal(len(label)) for label in TABLE.h], r"(D|d)ecimal"),
        ([1j if label == "x" else 0j for label in TABLE.h], "complex"),
    ],
)
def test_labels_that_cannot_be_ordered_are_refused_as_in_a_table(labels, kind):
    message = rf"column 'h' holds labels of type {kind}.*, not text, numbers, booleans or dates"
    assert_refused_alike(TABLE.assign(h=labels), message)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "a"] * (N // 2), r"column 'h' mixes labels of types int \(1\), str \('a'\)"),
        (["\ud800", "a"] * (N // 2), "column 'h' has a label that is not valid text"),
    ],
)
def test_labels_that_arrow_cannot_hold_are_refused_as_in_a_table(labels, message):
    assert_refused_alike(TABLE.assign(h=pd.Series(labels, dtype=object)), message)


@pytest.mark.parametrize(
    "labels",
    [
        pd.period_range("2020-01", periods=N, freq="D"),
        pd.arrays.IntervalArray(pd.cut(TABLE.x, 3)),
    ],
)
def test_labels_of_pandas_own_types_are_refused_with_what_to_do(tmp_path, labels):
    table = TABLE.assign(h=labels)
    message = r"column 'h' holds labels of type pandas.(period|interval), .*astype\(str\)"
    with pytest.raises(DataError, match=r"table 0: " + message):
        Problem.from_batches(SPEC, [table])
    table.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"rows.parquet: " + message):
        Problem.from_parquet(SPEC, tmp_path / "rows.parquet")
    text = Problem.from_batches(SPEC, [table.assign(h=table.h.astype(str))])
    assert text.index.n_leaves == Problem(SPEC, table).index.n_leaves


@pytest.mark.parametrize("kind", [pa.string_view(), pa.dictionary(pa.int8(), pa.large_string())])
def test_text_of_every_arrow_type_is_text(kind):
    table = pa.Table.from_pandas(TABLE)
    at = table.column_names.index("h")
    labels = pa.chunked_array([pa.array(TABLE.h.tolist()).cast(kind)])
    found = Problem.from_batches(SPEC, [table.set_column(at, "h", labels), TABLE])
    assert found.index.n_leaves == Problem(SPEC, TABLE).index.n_leaves
    assert found.n_rows == 2 * N


# --- columns of numbers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        TABLE.x.astype(object),
        [decimal.Decimal(1), *TABLE.x[1:]],
        (TABLE.x > 0).astype(object),
        ["high", *TABLE.x[1:]],
        TABLE.x + 1j,
        [dt.date(2020, 1, 1)] * N,
    ],
)
def test_numbers_that_are_objects_are_refused_as_in_a_table(values):
    assert_refused_alike(TABLE.assign(x=values), r"column 'x' is not numeric \(dtype ")


def test_decimal_numbers_are_numbers_however_they_are_read(tmp_path):
    plain = TABLE.assign(x=TABLE.x.round(3))
    table = plain.assign(x=[decimal.Decimal(str(x)) for x in plain.x])
    path = tmp_path / "rows.parquet"
    table.to_parquet(path)
    assert read_table(path).x.dtype == object
    arrow = pd.read_parquet(path, dtype_backend="pyarrow")
    for given in (read_table(path), arrow, table):
        np.testing.assert_array_equal(Problem(SPEC, given).X, Problem(SPEC, plain).X)
    wanted = Problem(SPEC, plain).statistics.fit
    for found in (Problem.from_parquet(SPEC, path), Problem.from_batches(SPEC, [table])):
        np.testing.assert_allclose(found.statistics.fit, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", None])
def test_decimal_numbers_that_are_none_are_refused_as_in_a_table(value):
    first = None if value is None else decimal.Decimal(value)
    values = [first, *(decimal.Decimal(str(round(x, 3))) for x in TABLE.x[1:])]
    assert_refused_alike(TABLE.assign(x=pd.Series(values, dtype=object)), "column 'x'")


def test_columns_of_several_parts_are_told_how_to_become_names():
    table = TABLE.set_axis(pd.MultiIndex.from_product([["a"], TABLE.columns]), axis="columns")
    assert_refused_alike(table, r".*several parts, such as \('a', '.'\).*'_'.join\(map\(str, c\)\)")
    table.columns = ["_".join(map(str, c)) for c in table.columns]
    spec = ModelSpec.from_formula("a_y ~ a_x + (1 || a_g)")
    assert Problem(spec, table).n_rows == N


@pytest.mark.parametrize("name", ["x", "g"])
def test_sparse_and_long_columns_are_as_good_as_plain_ones(name):
    table = TABLE.assign(g=TABLE.g.map({"a": 0, "b": 1, "c": 2}))
    sparse = table.assign(**{name: pd.arrays.SparseArray(table[name])})
    long = table.assign(x=table.x.astype(np.longdouble))
    wanted = Problem(SPEC, table).statistics
    for given in (sparse, long):
        found = Problem.from_batches(SPEC, [given[:20], given[20:]]).statistics
        np.testing.assert_allclose(found.fit, wanted.fit, rtol=1e-10, atol=1e-10)


def test_a_table_without_rows_has_no_types():
    empty = pd.DataFrame(columns=list("ghxy"))  # all of them objects
    assert Problem.from_batches(SPEC, [empty, TABLE]).n_rows == N


@pytest.mark.parametrize("name", ["x", "h"])
def test_names_of_columns_that_are_no_text_are_not_taken_for_it(name):
    spec = ModelSpec.from_formula("y ~ `1` + (1 || g/h)" if name == "x" else "y ~ x + (1 || g/`1`)")
    with pytest.raises(DataError, match="table 0: no column '1'"):
        Problem.from_batches(spec, [TABLE.rename(columns={name: 1})])


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [5, None, "rows.parquet", b"rows", {"a": TABLE}, np.array(1)])
def test_batches_that_are_no_tables_are_refused(batches):
    message = rf"batches must be a list of tables.*, not {type(batches).__name__}\."
    with pytest.raises(DataError, match=message):
        Problem.from_batches(SPEC, batches)


def test_one_table_is_no_list_of_tables():
    arrow = pa.Table.from_pandas(TABLE)
    for table in (TABLE, arrow, arrow.to_batches()[0]):
        with pytest.raises(DataError, match=r"not one \w+. Give \[table\]"):
            Problem.from_batches(SPEC, table)


def test_what_to_do_with_missing_keys_is_checked_before_rows_are_read():
    batches = iter([TABLE])
    with pytest.raises(SpecError, match="missing='drop' is unknown; choose 'error' or 'group'"):
        Problem.from_batches(SPEC, batches, missing="drop")
    assert next(batches) is TABLE


@pytest.mark.parametrize("path", [5, None, b"rows.parquet", {"rows.parquet": 1}])
def test_paths_that_are_none_are_refused(path):
    message = rf"a path of Parquet files must be text.* not {type(path).__name__}\."
    for given in (path, ["rows.parquet", path]):
        with pytest.raises(DataError, match=message):
            Problem.from_parquet(SPEC, given)


def test_an_empty_path_is_not_the_folder_one_is_in(tmp_path, monkeypatch):
    TABLE.to_parquet(tmp_path / "rows.parquet")
    monkeypatch.chdir(tmp_path)
    assert Problem.from_parquet(SPEC, ".").n_rows == N
    with pytest.raises(DataError, match="path of the Parquet file is empty"):
        Problem.from_parquet(SPEC, "")


@pytest.mark.parametrize("batch_rows", ["a", 2.5, None, True, 0, -1])
def test_batch_rows_is_a_whole_number(tmp_path, batch_rows):
    TABLE.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="batch_rows must be a whole number of at least 1"):
        Problem.from_parquet(SPEC, tmp_path / "rows.parquet", batch_rows=batch_rows)


def test_progress_is_a_function(tmp_path):
    TABLE.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(
        DataError, match="progress must be a function of two numbers, or None, not 3"
    ):
        Problem.from_parquet(SPEC, tmp_path / "rows.parquet", progress=3)


@pytest.mark.parametrize("batch_rows", [np.int64(7), 2**70])
def test_batch_rows_may_be_of_any_size(tmp_path, batch_rows):
    TABLE.to_parquet(tmp_path / "rows.parquet")
    found = Problem.from_parquet(SPEC, tmp_path / "rows.parquet", batch_rows=batch_rows)
    assert found.n_rows == N
