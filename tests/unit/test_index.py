from __future__ import annotations

import datetime as dt
import decimal
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestor import ModelSpec, Problem
from nestor.data.index import NestedIndex, build_index, columns
from nestor.errors import DataError, SpecError

COUNTIES = pd.DataFrame(
    {
        "state": ["IL", "CA", "IL", "CA", "IL", "IL"],
        "county": ["Lake", "Riverside", "Cook", "Lake", "Lake", "Cook"],
    }
)


def index_of(values: Any, **options: Any) -> NestedIndex:
    return build_index(pd.DataFrame({"a": values}), ["a"], **options)


def paths_of(values: Any, **options: Any) -> list[str]:
    return list(index_of(values, **options).levels[0].paths)


def escaped(label: object) -> str:
    return str(label).replace("\\", "\\\\").replace("/", "\\/")


def slow_index(table: pd.DataFrame) -> tuple[list[list[tuple[Any, ...]]], list[list[int]]]:
    """Index with dictionaries: nodes of each level as tuples of labels, rows of each leaf."""
    rows = list(table.itertuples(index=False, name=None))
    depths = range(1, table.shape[1] + 1)
    nodes = [sorted({row[:depth] for row in rows}) for depth in depths]
    by_leaf: dict[tuple[Any, ...], list[int]] = {leaf: [] for leaf in nodes[-1]}
    for position, row in enumerate(rows):
        by_leaf[row].append(position)
    return nodes, list(by_leaf.values())


def assert_index(index: NestedIndex, table: pd.DataFrame) -> None:
    nodes, rows = slow_index(table)
    np.testing.assert_array_equal(index.order, np.concatenate(rows))
    np.testing.assert_array_equal(index.rows_per_leaf, [len(leaf) for leaf in rows])
    np.testing.assert_array_equal(index.leaf, np.repeat(np.arange(len(rows)), index.rows_per_leaf))
    for depth, level in enumerate(index.levels):
        assert level.n == len(nodes[depth])
        assert list(level.labels) == [node[-1] for node in nodes[depth]]
        assert list(level.paths) == ["/".join(map(escaped, node)) for node in nodes[depth]]
        above = nodes[depth - 1] if depth else [()]
        assert list(level.parent) == [above.index(node[:-1]) for node in nodes[depth]]


labels = st.one_of(
    st.lists(st.sampled_from(["", "/", "\\", "\\/", "a", "B", "é", "𝒳", "\ufb01", "10", "9"])),
    st.lists(st.integers(-3, 3)),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    st.lists(st.booleans()),
)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    pools = [list(dict.fromkeys(draw(labels))) or ["x"] for _ in range(draw(st.integers(1, 4)))]
    rows = draw(st.lists(st.tuples(*map(st.sampled_from, pools)), min_size=1, max_size=30))
    return pd.DataFrame(rows, columns=[f"level{k}" for k in range(len(pools))], dtype=object)


STORAGE = ["object", "inferred", "category", "arrow"]


def stored(table: pd.DataFrame, storage: str) -> pd.DataFrame:
    if storage == "object":
        return table
    table = table.infer_objects()
    if storage == "category":
        return table.astype("category")
    return table.convert_dtypes(dtype_backend="pyarrow") if storage == "arrow" else table


@settings(max_examples=150, deadline=None)
@given(table=tables(), storage=st.sampled_from(STORAGE))
def test_equals_dictionaries(table: pd.DataFrame, storage: str) -> None:
    assert_index(build_index(stored(table, storage), list(table)), table)


@settings(max_examples=100, deadline=None)
@given(table=tables(), seed=st.integers(0, 1000))
def test_row_order_changes_only_the_order(table: pd.DataFrame, seed: int) -> None:
    shuffle = np.random.default_rng(seed).permutation(len(table))
    first = build_index(table, list(table))
    second = build_index(table.iloc[shuffle], list(table))
    for one, other in zip(first.levels, second.levels, strict=True):
        np.testing.assert_array_equal(one.parent, other.parent)
        np.testing.assert_array_equal(one.paths, other.paths)
        assert one.labels.equals(other.labels)
        assert len(set(one.paths)) == one.n
        assert (np.diff(one.parent) >= 0).all()
    np.testing.assert_array_equal(first.leaf, second.leaf)
    rows = [
        np.split(shuffle[second.order], second.starts[1:-1]),
        np.split(first.order, first.starts[1:-1]),
    ]
    for shuffled, plain in zip(*rows, strict=True):
        assert sorted(shuffled) == sorted(plain)


@pytest.mark.parametrize("entries_per_row", [0, 10**6])
def test_table_and_hashing_agree(monkeypatch: pytest.MonkeyPatch, entries_per_row: int) -> None:
    monkeypatch.setattr(columns, "TABLE_ENTRIES_PER_ROW", entries_per_row)
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.integers(-5, 5, (200, 3)).astype(np.int8), columns=list("abc"))
    assert_index(build_index(table, list("abc")), table)


def test_a_leaf_is_a_path() -> None:
    index = build_index(COUNTIES, ["state", "county"])
    assert index.names == ("state", "county")
    assert list(index.levels[1].paths) == ["CA/Lake", "CA/Riverside", "IL/Cook", "IL/Lake"]
    assert list(index.levels[1].parent) == [0, 0, 1, 1]
    assert list(index.order) == [3, 1, 2, 5, 0, 4]
    assert list(index.starts) == [0, 1, 2, 4, 6]
    assert (index.n_rows, index.n_leaves) == (6, 4)
    reused = index.reused_labels()
    assert set(reused) == {"county"}
    assert (reused["county"].count, reused["county"].examples) == (1, ("Lake",))


def test_summary_counts() -> None:
    summary = build_index(COUNTIES, ["state", "county"]).summary()
    assert [(s.name, s.nodes, s.children_per_parent) for s in summary.levels] == [
        ("state", 2, 2.0),
        ("county", 4, 2.0),
    ]
    found = (summary.rows, summary.min_rows_per_leaf, summary.max_rows_per_leaf)
    assert found == (6, 1, 2)
    assert summary.single_row_leaves == 2


def test_ancestors_compose() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.integers(0, 4, (60, 3)), columns=list("abc"))
    index = build_index(table, list("abc"))
    tops = [path.split("/")[0] for path in index.levels[2].paths]
    assert list(index.levels[0].paths[index.ancestor("a", of="c")]) == tops
    np.testing.assert_array_equal(index.ancestor("b", of="c"), index.levels[2].parent)
    np.testing.assert_array_equal(index.ancestor("b", of="b"), np.arange(index.levels[1].n))
    with pytest.raises(SpecError, match="'c' lies below 'a'"):
        index.ancestor("c", of="a")
    with pytest.raises(SpecError, match="no level 'd'; the levels are 'a', 'b', 'c'"):
        index.ancestor("d", of="c")


DAY = pd.Timestamp("2024-01-02")
SAME_COLUMN = {
    "text": (["b", "a", "b"], ["object", "str", "string[python]", "category", "string[pyarrow]",
                               pd.ArrowDtype(pa.string()),
                               pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))]),
    "numbers": ([10, 9, 10], ["object", "int8", "uint64", "float64", "float16", "Int16", "Float32",
                              "category", "int64[pyarrow]", "double[pyarrow]", "Sparse[int64]"]),
    "booleans": ([True, False, True], ["object", "bool", "boolean", "bool[pyarrow]", "category"]),
    "days": ([DAY, pd.Timestamp("2024-01-01"), DAY],
             ["object", "datetime64[ns]", "timestamp[us][pyarrow]", "date32[pyarrow]",
              "period[D]"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME_COLUMN)
def test_storage_does_not_matter(name: str) -> None:
    values, dtypes = SAME_COLUMN[name]
    expected = {"text": ["a", "b"], "numbers": ["9", "10"], "booleans": ["False", "True"],
                "days": ["2024-01-01", "2024-01-02"]}[name]  # fmt: skip
    for dtype in dtypes:
        column = pd.Series(values, dtype=object if dtype == "object" else None).astype(dtype)
        index = index_of(column)
        assert list(index.levels[0].paths) == expected, dtype
        assert list(index.order) == [1, 0, 2], dtype


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, -0.0, 2.0, 0.0], ["0.0", "0.5", "2.0"]),
        (np.array([0.1, 1e-3], dtype=np.float32), ["0.001", "0.1"]),
        ([np.inf, 1.0], ["1.0", "inf"]),
        ([2**63 + 5, 1], ["1", str(2**63 + 5)]),
        (pd.Series([2**70, -(2**70)], dtype=object), [str(-(2**70)), str(2**70)]),
        (pd.to_timedelta(["2h", "1h"]), ["0 days 01:00:00", "0 days 02:00:00"]),
        (pd.Series([dt.date(2024, 1, 2), dt.date(2023, 1, 1)], dtype=object),
         ["2023-01-01", "2024-01-02"]),
        (pd.interval_range(0, 2), ["(0, 1]", "(1, 2]"]),
        (pd.Categorical(["lo", "hi"], ["mid", "lo", "hi"]), ["hi", "lo"]),
        (pd.Categorical(["hi", "lo"], ["mid", "lo", "hi"], ordered=True), ["lo", "hi"]),
        (["", "a/b", "a\\"], ["", "a\\/b", "a\\\\"]),
    ],
)  # fmt: skip
def test_label_order_and_text(values: Any, expected: list[str]) -> None:
    assert paths_of(values) == expected


def test_minus_zero_is_zero_in_any_row_order() -> None:
    for values in ([-0.0, 0.0, 0.5], [0.5, 0.0, -0.0]):
        assert not np.signbit(index_of(values).levels[0].labels.to_numpy()).any()


def test_text_in_several_arrow_chunks() -> None:
    chunks = pd.concat([pd.Series(["b", None]), pd.Series(["a", "b"])], ignore_index=True)
    index = index_of(chunks.astype("string[pyarrow]"), missing="group")
    assert list(index.levels[0].paths) == ["a", "b", "(missing)"]
    assert list(index.order) == [2, 0, 3, 1]


def test_missing_keys_are_counted_and_located() -> None:
    table = COUNTIES.assign(county=["Lake", None, None, None, "Lake", None])
    table.loc[2, "state"] = None
    message = (
        "5 missing keys: 1 in column 'state' (rows 2); 4 in column 'county' (rows 1, 2, 3, ...)."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        build_index(table, ["state", "county"])


def test_missing_keys_as_nodes_of_their_own() -> None:
    table = pd.DataFrame({"a": ["x", None, "x", None], "b": [1.0, 2.0, np.nan, np.nan]})
    index = build_index(table, ["a", "b"], missing="group")
    assert list(index.levels[1].paths) == [
        "x/1",
        "x/(missing)",
        "(missing)/2",
        "(missing)/(missing)",
    ]
    assert list(index.levels[1].labels) == [1.0, "(missing)", 2.0, "(missing)"]
    assert list(index.levels[1].label_text) == ["1", "(missing)", "2", "(missing)"]
    assert index.reused_labels() == {}  # one missing key under each parent is no reused label


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([None, "x"], dtype=object),
        pd.Series([np.nan, 1.0]),
        pd.Series([pd.NaT, DAY]),
        pd.Series([None, 1], dtype="Int64"),
        pd.Series([None, "x"], dtype="category"),
        pd.Series([None, "x"], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
        pd.Series(pd.arrays.ArrowExtensionArray(pa.array([float("nan"), 1.0]))),
    ],
    ids=lambda values: str(values.dtype),
)
def test_every_kind_of_missing_is_found(values: pd.Series[Any]) -> None:
    with pytest.raises(DataError, match=r"1 in column 'a' \(rows 0\)"):
        index_of(values)
    assert list(index_of(values, missing="group").order) == [1, 0]


def test_a_column_without_any_key() -> None:
    for column in (pd.Series([None, None], dtype=object), pd.Series([None, None], dtype="category"),
                   pd.Series([None, None], dtype=pd.ArrowDtype(pa.null()))):  # fmt: skip
        assert paths_of(column, missing="group") == ["(missing)"]


def test_missing_label_does_not_collide() -> None:
    with pytest.raises(DataError, match=r"column 'a' has both missing keys and the label '\(miss"):
        index_of(["(missing)", None], missing="group")
    assert paths_of(["(missing)", "x"], missing="group") == ["(missing)", "x"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "1", "x"], "column 'a' mixes labels of types .* The label '1' is there in several"),
        ([1, True], "column 'a' mixes labels of types bool .True., int .1."),
        ([1, 1.0], "column 'a' mixes labels of types float .1.0., int .1."),
        (["x", b"x"], "column 'a' mixes labels of types bytes .*, str"),
        ([(1, 2), (0, 1)], "column 'a' holds labels of type tuple"),
        ([[1], 2], "column 'a' mixes labels of types int .2., list"),
        ([decimal.Decimal("1.0")], "column 'a' holds labels of type Decimal"),
        ([DAY, dt.date(2024, 1, 1)], "column 'a' mixes labels of types Timestamp .*, date"),
        ([DAY.tz_localize("UTC"), DAY.tz_localize("Asia/Tokyo")], "column 'a' mixes time zones"),
        (["\ud800"], "column 'a' has a label that is not valid text"),
    ],
)
def test_labels_of_no_one_type_are_refused(values: list[Any], message: str) -> None:
    for column in (pd.Series(values, dtype=object), pd.Series(values[::-1], dtype=object)):
        with pytest.raises(DataError, match="column 'a'"):
            index_of(column)
    with pytest.raises(DataError, match=message):
        index_of(pd.Series(values, dtype=object))


def test_categories_of_several_types_are_refused_only_where_used() -> None:
    with pytest.raises(DataError, match="The label '1' is there in several"):
        index_of(pd.Categorical([1, "1"]))
    assert paths_of(pd.Categorical([1, 1], [1, "1"])) == ["1"]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "levels is empty"),
        ("state", "levels must be a list of column names.*'state'"),
        ([1], "levels must be a list of column names"),
        (["state", "state"], "level 'state' stands more than once in state/state"),
        (["state", "draw"], "may not be called 'draw'"),
    ],
)
def test_wrong_levels(levels: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build_index(COUNTIES, levels)


def test_wrong_tables_and_options() -> None:
    with pytest.raises(DataError, match=r"no column 'conty' in the table\. Did you mean 'county'"):
        build_index(COUNTIES, ["state", "conty"])
    with pytest.raises(
        DataError, match=r"no column 'zip' in the table\. It has: 'state', 'county'"
    ):
        build_index(COUNTIES, ["zip"])
    with pytest.raises(DataError, match="2 columns 'state'"):
        build_index(COUNTIES.set_axis(["state", "state"], axis=1), ["state"])
    with pytest.raises(DataError, match="no rows"):
        build_index(COUNTIES.iloc[:0], ["state"])
    with pytest.raises(SpecError, match="missing='drop' is unknown"):
        build_index(COUNTIES, ["state"], missing="drop")  # type: ignore[arg-type]


@pytest.mark.parametrize("rare", ["", "z", None])
@pytest.mark.parametrize("chunks", [1, 3])
def test_long_text_columns(rare: str | None, chunks: int) -> None:
    """Labels that a sample of rows shows, and one that it misses, in one piece and in several."""
    rng = np.random.default_rng(2)
    values = rng.choice(np.array(["b", "a", "no degree"], dtype=object), 70_000)
    values[12_345] = rare  # not among the 4096 rows from 0 to 69,999 that are evenly spaced
    pieces = [pd.Series(piece, dtype="string[pyarrow]") for piece in np.array_split(values, chunks)]
    table = pd.DataFrame({"a": pd.concat(pieces, ignore_index=True)})
    index = build_index(table, ["a"], missing="group")
    expected = sorted({value for value in values if value is not None})
    expected += ["(missing)"] if rare is None else []
    assert list(index.levels[0].labels) == expected
    found = values[index.order]
    found[found == None] = "(missing)"  # noqa: E711
    assert (found == np.array(expected, dtype=object)[index.leaf]).all()


@pytest.mark.parametrize(
    "kind", ["float64[pyarrow]", "float32[pyarrow]", "float64", "Float64", ">f8", "object"]
)
def test_zero_is_one_node_and_every_gap_the_same_one(kind):
    table = pd.DataFrame({"g": pd.Series([0.0, -0.0, 1.0, -0.0, 1.0]).astype(kind)})
    assert list(build_index(table, ["g"]).levels[0].paths) == ["0", "1"]
    values = [0.0, float("nan"), None, -0.0, 1.0]
    arrow = pd.arrays.ArrowExtensionArray(pa.array(values, from_pandas=False))  # NaN beside NA
    for gaps in (pd.Series(arrow), pd.Series([0.0, np.nan, pd.NA, -0.0, 1.0], dtype=object)):
        index = build_index(pd.DataFrame({"g": gaps}), ["g"], missing="group")
        assert list(index.levels[0].paths) == ["0", "1", "(missing)"]
        assert list(index.rows_per_leaf) == [2, 1, 2]


class _Fails:
    """A label of which nothing can be asked."""

    def __hash__(self):
        raise RuntimeError("no hash")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "b\0"], "null character"),
        (pd.Categorical(["a", "b\0"]), "null character"),
        ([_Fails(), _Fails()], "cannot be told apart"),
        (list(np.zeros(2, dtype=[("a", "i4")])), "column 'g'"),
        ([[1], [2]], "column 'g'"),
        ([1 + 2j, 2j], "column 'g'"),
    ],
)
def test_labels_that_cannot_be_written_or_told_apart(labels, message):
    with pytest.raises(DataError, match=message):
        build_index(pd.DataFrame({"g": labels}), ["g"])


@pytest.mark.parametrize("table", [None, [1], {"a": [1]}, "x.csv", 5, np.ones(3)])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(DataError, match="a table with columns is wanted"):
        build_index(table, ["a"])


def test_levels_without_a_name_are_refused():
    with pytest.raises(SpecError, match="a level has no name"):
        build_index(pd.DataFrame({"a": [1]}), ["", ""])


def test_dates_in_milliseconds_are_days_in_a_table_and_in_batches() -> None:
    milliseconds = pa.array([1, -1, 0, 86_400_001, None], pa.int64()).view(pa.date64())
    table = pd.DataFrame({"g": pd.array(milliseconds, dtype=pd.ArrowDtype(pa.date64()))})
    spec = ModelSpec.from_formula("y ~ 1 + (1 | g)")
    table["y"] = [1.0, 2.0, 0.5, 3.0, 4.0]
    whole = build_index(table, ["g"], missing="group").levels[0]
    assert list(whole.paths) == ["1969-12-31", "1970-01-01", "1970-01-02", "(missing)"]
    batched = Problem.from_batches(spec, [table.iloc[:2], table.iloc[2:]], missing="group")
    assert list(batched.index.levels[0].paths) == list(whole.paths)
