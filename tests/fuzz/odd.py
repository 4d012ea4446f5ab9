"""Strategies for what a user can write: columns of every type of pandas and Arrow, numbers, TOML, paths."""

import datetime as dt
import decimal
import fractions
import os
import uuid
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import tomli_w
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

#: Cases of all tests of this folder together; `make fuzz` runs 20,000.
CASES = int(os.environ.get("NESTOR_FUZZ_CASES", "400"))


def fuzzed(share):
    """Run a share of the cases: the same ones each time, new ones in `make fuzz`; none has a deadline."""
    many = "NESTOR_FUZZ_CASES" in os.environ
    return settings(
        max_examples=max(1, round(share * CASES)),
        derandomize=not many,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


class Hostile:
    """An object of which one thing fails: its hash, its comparison, its order or its text."""

    def __init__(self, fault):
        self.fault = fault

    def _do(self, what, answer):
        if self.fault == what:
            raise RuntimeError(f"no {what}")
        return answer

    def __hash__(self):
        return self._do("hash", 1)

    def __eq__(self, other):
        return self._do("eq", self is other)

    def __lt__(self, other):
        return self._do("lt", id(self) < id(other))

    def __repr__(self):
        return self._do("repr", "Hostile()")

    def __bool__(self):
        return self._do("bool", True)

    def __float__(self):
        return self._do("float", 1.0)


FAULTS = ("hash", "eq", "lt", "repr", "bool", "float", "nothing")

ODD_TEXT = (
    "", " ", "a", "b", "A", "/", "a/b", "\\", "\\/", "\0", "a\0b", "a\0", "\n", "\t", "\x1b[31m",
    "[bold]", "[/]", "(missing)", "nan", "NaN", "None", "1", "01", "1.0", "é", "e\u0301", "\u202e",
    "日本", "\ud800", "x" * 300, "<b>&amp;", "True",
)  # fmt: skip
ODD_NUMBERS = (
    0, 1, 2, -1, 100, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, 10**80,
    0.0, -0.0, 0.5, 1.0, -1.0, 1e-320, 1e308, -1e308, 1e16, float("inf"), float("-inf"),
    float("nan"),
)  # fmt: skip
DAY = dt.date(2020, 2, 29)
NOON = dt.datetime(2020, 2, 29, 12)
ODD_OBJECTS = (
    None, pd.NA, pd.NaT, np.nan, True, False, np.True_, np.int8(1), np.float32(0.5),
    np.float64(-0.0), np.datetime64("2020-02-29"), np.timedelta64(1, "D"), 1 + 2j,
    decimal.Decimal("1.0"), decimal.Decimal("NaN"), decimal.Decimal("sNaN"),
    fractions.Fraction(1, 3), b"a", b"\0", (1, 2), (), frozenset(), [1], {}, {1}, DAY, NOON,
    NOON.replace(tzinfo=dt.UTC), dt.time(12), dt.timedelta(1), uuid.UUID(int=1),
    pd.Period("2020-02"), pd.Interval(0, 1), pd.Timestamp("2020-02-29", tz="UTC"), range(2),
    np.array([1, 2]), np.array(1), slice(1), int, len, np.zeros(1, dtype=[("a", "i4")])[0], float,
    ...,
)  # fmt: skip

texts = st.one_of(st.sampled_from(ODD_TEXT), st.text(max_size=6))
numbers = st.one_of(
    st.sampled_from(ODD_NUMBERS),
    st.integers(),
    st.floats(),
    st.integers(-2, 3),
    st.floats(width=16),
)
objects = st.one_of(
    st.sampled_from(ODD_OBJECTS), texts, numbers, st.builds(Hostile, st.sampled_from(FAULTS))
)

_NUMPY = (
    "?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g", "c8", "c16", ">i4",
    ">f8",
)  # fmt: skip
_TIMES = ("M8[s]", "M8[ms]", "M8[us]", "M8[ns]", "m8[s]", "m8[ns]")
_PANDAS = (
    "Int8", "Int64", "UInt8", "UInt64", "Float32", "Float64", "boolean", "datetime64[ns, UTC]",
    "datetime64[ns, Europe/Berlin]", "period[M]", "interval[int64]", "Sparse[float]", "Sparse[int]",
    "category", "string[python]", "string[pyarrow]", "str",
)  # fmt: skip
ARROW = (
    pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(),
    pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.decimal128(38, 2),
    pa.decimal256(76, 0), pa.string(), pa.large_string(), pa.string_view(), pa.binary(),
    pa.binary(3), pa.binary_view(), pa.date32(), pa.date64(), pa.time32("s"), pa.time64("ns"),
    pa.timestamp("s"), pa.timestamp("ns", "UTC"), pa.timestamp("us", "Europe/Berlin"),
    pa.duration("ns"), pa.month_day_nano_interval(), pa.list_(pa.int64()),
    pa.large_list(pa.string()), pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.int64()),
    pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int8(), pa.float64()),
    pa.dictionary(pa.int32(), pa.string(), ordered=True), pa.uuid(), pa.json_(),
)  # fmt: skip
_SAMPLES = {
    "text": texts,
    "number": numbers,
    "small": st.sampled_from([0, 1, 2]),
    "fraction": st.sampled_from([0.0, -0.0, 0.5, float("nan"), 1.0]),
    "object": objects,
    "time": st.sampled_from([0, 1, 10**9, 10**18, DAY, NOON, "2020-02-29"]),
    "none": st.none(),
}


def _values(n):
    """Lists of one kind of thing, some of them missing."""

    def lists(kind):
        entry = _SAMPLES[kind]
        some = st.lists(entry, min_size=1, max_size=3)
        gaps = st.sampled_from([None, np.nan, pd.NA, pd.NaT])
        pools = st.tuples(some, st.lists(gaps, max_size=1)).map(lambda pair: [*pair[0], *pair[1]])
        return pools.flatmap(
            lambda pool: st.lists(st.integers(0, len(pool) - 1), min_size=n, max_size=n).map(
                lambda at: [pool[i] for i in at]
            )
        )

    return st.sampled_from(sorted(_SAMPLES)).flatmap(lists)


def _object_array(values):
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def _as(kind, values):
    """Make a column of a kind; whatever cannot be one of it stays an object."""
    objects = pd.Series(_object_array(values), dtype=object)
    try:
        if kind == "object":
            return objects
        if isinstance(kind, pa.DataType):
            plain = [None if _missing(v) and not isinstance(v, float) else v for v in values]
            return pd.Series(pd.array(plain, dtype=pd.ArrowDtype(kind)))
        if kind == "ordered":
            return pd.Series(pd.Categorical(objects, ordered=True))
        if kind == "nan in arrow":
            return pd.Series(pd.arrays.ArrowExtensionArray(pa.array(values, from_pandas=False)))
        if kind == "void":
            return pd.Series(list(np.zeros(len(values), dtype=[("a", "i4"), ("b", "f4")])))
        if kind == "bytes":
            return pd.Series(np.array([str(v) for v in values], dtype="S4"))
        return objects.astype(kind)
    except Exception:  # noqa: BLE001 - pandas' and Arrow's own: they cannot make such a column
        return objects


def _missing(value):
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float) and value != value)
    )


KINDS = (
    "object",
    "object",
    "ordered",
    "nan in arrow",
    "void",
    "bytes",
    *_NUMPY,
    *_TIMES,
    *_PANDAS,
    *ARROW,
)


@st.composite
def columns(draw, n):
    """A column of n rows, of any dtype."""
    return _as(draw(st.sampled_from(KINDS)), draw(_values(n)))


@dataclass
class Odd:
    """A table; pandas cannot print all of them, so Hypothesis prints types and what values can say."""

    frame: pd.DataFrame

    def __repr__(self):
        return f"Odd({', '.join(f'{n!r}: {_words(c)}' for n, c in self.frame.items())})"

    def _repr_pretty_(self, printer, cycle):  # Hypothesis would print a data class field by field
        printer.text(repr(self))


def _words(column):
    try:
        return f"{column.dtype} {column.tolist()}"
    except Exception as error:  # noqa: BLE001 - an object without text, a date out of range
        return f"{column.dtype} ({type(error).__name__})"


NAMES = ("g", "h", "y", "x", "w", "a b", "a/b", "", "\0", 1, 1.5, None, ("g", 1))


@st.composite
def tables(draw, names, least=1, most=8):
    """A table with columns of any dtype; sometimes with others of the same or of odd names."""
    n = draw(st.integers(least, most))
    more = draw(st.lists(st.sampled_from(NAMES), max_size=1))
    frame = pd.concat([draw(columns(n)) for _ in (*names, *more)], axis=1)
    return Odd(frame.set_axis(pd.Index([*names, *more], dtype=object, tupleize_cols=False), axis=1))


_REAL = (
    "?", "i1", "i8", "u8", "f2", "f4", "f8", "g", ">f8", "Int64", "UInt64", "Float64", "boolean",
    "Sparse[float]", "object", pa.int64(), pa.uint64(), pa.float16(), pa.float64(),
    pa.decimal128(38, 2), pa.decimal256(76, 0), pa.bool_(),
)  # fmt: skip


@st.composite
def number_columns(draw, n):
    """A column of numbers, some of which no computation bears."""
    pool = draw(st.lists(numbers, min_size=2, max_size=4))
    return _as(draw(st.sampled_from(_REAL)), [pool[i % len(pool)] for i in range(n)])


@st.composite
def model_tables(draw):
    """A table of a model: mostly plain labels g, and numbers y, x and w of any size and type."""
    n = draw(st.integers(4, 8))
    plain = st.just(pd.Series(np.arange(n) % 3 + 0.5))
    numeric = st.one_of(plain, plain, number_columns(n), number_columns(n), columns(n))
    labels = st.one_of(st.just(pd.Series(list("abababab")[:n])), columns(n))
    frame = pd.concat([draw(labels), *(draw(numeric) for _ in "yxw")], axis=1)
    return Odd(frame.set_axis(list("gyxw"), axis=1))


#: What an argument can be where a number, a word or a list is wanted.
arguments = st.one_of(objects, numbers, texts, st.lists(st.one_of(numbers, texts), max_size=3))

_toml_plain = st.one_of(
    st.booleans(), texts, st.integers(-(2**70), 2**70), st.floats(),
    st.sampled_from([DAY, NOON, dt.time(12), []]),
    st.sampled_from(["y ~ x + (1 | g)", "exact", "HalfNormal(1)", "level", "parent", "income"]),
    st.sampled_from(["y", "g", "Intercept"]),
)  # fmt: skip
_KEYS = (
    "formula", "family", "priors", "scale", "offset", "weights", "outcome", "levels", "effects",
    "zero_mean",
    "covariates", "name", "correlated", "title", "about", "target_ess", "seeds", "warm_compile",
    "yardstick", "data",
    "model", "sweep", "tracks", "grid", "limits", "quick", "table", "simulate", "demo", "seed",
    "parameter", "values",
    "defaults", "matched", "chains", "warmup", "draws", "target_accept", "max_tree_depth",
    "engines", "formulations",
    "devices", "dtypes", "chain_methods", "settings", "timeout_s", "memory_gb", "cores", "depth",
    "branching", "rows",
    "rows_per_leaf", "leaves", "imbalance", "slopes", "tau", "beta", "sigma", "__class__",
    "__init__", "model_fields",
    "self", "cls", "",
)  # fmt: skip
toml_values = st.recursive(
    _toml_plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(_KEYS), texts), inner, max_size=4),
    ),
    max_leaves=6,
)
VALID_MODEL = {
    "formula": "y ~ x + (1 | g)",
    "family": "gaussian",
    "priors": {"tau": "HalfNormal(1)"},
}
VALID_FIELDS = {
    "outcome": "y", "effects": ["Intercept"], "levels": [{"name": "g", "effects": ["Intercept"]}],
    "family": "gaussian",
}  # fmt: skip
VALID_SCENARIO = {
    "name": "odd", "data": {"simulate": {"depth": 2, "rows": 200}},
    "grid": [{"engines": ["reference:exact"]}],
    "tracks": {"matched": {"draws": 10}}, "limits": {"timeout_s": 10.0},
}  # fmt: skip


def _toml(fields):
    try:
        return tomli_w.dumps(fields)
    except (TypeError, ValueError, UnicodeError, RecursionError):
        return repr(fields)


@st.composite
def toml(draw, valid):
    """A valid document in which a few values, at any depth, are others; or text of its own."""
    if draw(st.integers(0, 9)) == 0:
        return draw(
            st.one_of(st.text(max_size=40), st.sampled_from("[{\"'.").map(lambda c: c * 3000))
        )
    document = _copy(valid)
    for _ in range(draw(st.integers(1, 3))):
        here = document
        while draw(st.booleans()) and here:
            below = [
                v
                for v in (here.values() if isinstance(here, dict) else here)
                if isinstance(v, dict | list)
            ]
            if not below:
                break
            here = draw(st.sampled_from(below))
        value = _copy(draw(toml_values))  # Hypothesis hands out the same empty list each time
        if isinstance(here, list):
            here.append(value)
        else:
            here[
                draw(
                    st.one_of(st.sampled_from(sorted(here) or [""]), st.sampled_from(_KEYS), texts)
                )
            ] = value
    return _toml(document)


def _copy(value):
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


_parts = st.one_of(
    st.sampled_from(
        [
            "~",
            "~nosuchuser",
            "..",
            ".",
            "",
            "\0",
            "x" * 300,
            "é",
            "\ud800",
            "file",
            "folder",
            "loop",
            "a b",
        ]
    ),
    st.text(max_size=5),
)
_ends = st.sampled_from(
    ["", ".csv", ".tsv.gz", ".parquet", ".feather", ".toml", ".CSV", ".csv.zip"]
)


@st.composite
def paths(draw):
    """A path below the working folder, or of no folder at all, that leads nowhere or to no table."""
    parts = draw(st.lists(_parts, min_size=1, max_size=3))
    return "/".join(parts).lstrip("/") + draw(_ends)
