"""Labels as a text file spells them, and how pandas' guess of a column's type would change them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nestor.errors import DataError
from nestor.errors.arguments import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

# Numbers as Python writes them: no sign but minus, no leading zeros, no exponent.
_WHOLE = re.compile(r"0|-?[1-9][0-9]*")
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+")
_TRUTH = {w: w.lower() == "true" for w in ("True", "TRUE", "true", "False", "FALSE", "false")}
# A column of fractions with more different values than this measures something: it labels no groups.
_MOST_FRACTIONS = 1000
_LARGEST_EXACT = 2**53
_GAPS = ("", "NA", "N/A", "n/a", "nan", "NaN", "None", "null", "NULL", "<NA>")
# Key of `DataFrame.attrs`, which pandas hands on to most tables that are made of one.
_NOTE = "nestor_respelt"


def as_labels(text: pd.Series[Any]) -> pd.Series[Any]:
    """Return labels as numbers or truth values if all are plainly spelt, else as they are.

    Two labels never become one. Plain numbers are then ordered as numbers.

    Parameters
    ----------
    text : Series of str, (N,)
        Missing where the file has no value.
    """
    words = [str(word) for word in text.dropna().unique()]
    found = _plain(words)
    if found is None:
        return text
    values, kind = found
    if text.isna().any():
        kind = {"int64": "Int64", "uint64": "UInt64", "bool": "boolean"}.get(kind, kind)
    codes = pd.Categorical(text, categories=words).codes
    distinct: Any = pd.Series(values, dtype=kind).array
    labels = distinct.take(codes, allow_fill=bool((codes < 0).any()))
    return pd.Series(labels, index=text.index, name=text.name)


def _plain(words: list[str]) -> tuple[list[Any], str] | None:
    """Return the values of plainly spelt labels and their type; None for any other labels."""
    if not words:
        return None
    if all(map(_WHOLE.fullmatch, words)):
        try:
            whole = [int(word) for word in words]
        except ValueError:  # thousands of digits, which Python does not read
            return None
        for kind in (np.int64, np.uint64):
            if np.iinfo(kind).min <= min(whole) and max(whole) <= np.iinfo(kind).max:
                return whole, kind.__name__
        return None
    values: list[Any]
    if all(map(_is_plain_number, words)):
        values, kind_name = [float(word) for word in words], "float64"
    elif all(word in _TRUTH for word in words):
        values, kind_name = [_TRUTH[word] for word in words], "bool"
    else:
        return None
    return (values, kind_name) if len(set(values)) == len(words) else None


def _is_plain_number(word: str) -> bool:
    """Whether a label is spelt as Python spells its number or, if it is whole, without a point."""
    if _WHOLE.fullmatch(word):
        return len(word) < len(str(_LARGEST_EXACT))
    return bool(_FRACTION.fullmatch(word)) and repr(float(word)) == word and word != "-0.0"


def may_change_labels(guess: pd.Series[Any]) -> bool:
    """Whether a column whose type pandas guessed could hold labels that the file spells differently."""
    if guess.dtype.kind != "f":
        # Objects are truth values with gaps.
        return guess.dtype == object or guess.dtype.kind in "biu" or lost_gaps(guess)
    present = guess.dropna()
    return bool((present % 1 == 0).all()) or present.nunique() <= _MOST_FRACTIONS


def lost_gaps(guess: pd.Series[Any]) -> bool:
    """Whether a text column holds words for a missing value that should have become missing.

    pandas 3.1 leaves them there beside whole numbers of 64 bits without a sign.
    """
    return isinstance(guess.dtype, pd.StringDtype) and bool(guess.isin(_GAPS).any())


def note_respelt(
    table: pd.DataFrame, texts: Mapping[str, pd.Series[Any]], source: str
) -> pd.DataFrame:
    """Record in a table which columns' labels differ from their file's spelling; see `refuse_respelt`.

    Parameters
    ----------
    table : DataFrame
        As pandas guessed it.
    texts : mapping of str to Series of str
        Columns of the same rows as the file spells them.
    source : str
        The file.
    """
    respelt = {
        name: words
        for name, text in texts.items()
        if (words := _changed(as_labels(text), text, table[name]))
    }
    if respelt:
        table.attrs[_NOTE] = {"source": source, "columns": respelt}
    return table


def _changed(labels: pd.Series[Any], text: pd.Series[Any], guess: pd.Series[Any]) -> list[str]:
    """Return two spellings that the guess merges into one label, or one that it changes, or none."""
    if labels is not text and not _is_rounded(labels, guess):
        return []
    pairs = pd.DataFrame({"text": text.astype(object), "value": guess}).dropna()
    pairs = pairs.drop_duplicates("text")
    alike = pairs[pairs["value"].duplicated(keep=False)]
    if len(alike):
        return [str(w) for w in alike["text"][alike["value"] == alike["value"].iloc[0]][:2]]
    return [str(word) for word in pairs["text"][:1]]


def _is_rounded(labels: pd.Series[Any], guess: pd.Series[Any]) -> bool:
    """Whether whole numbers beside a gap became floats that do not hold them."""
    if labels.dtype.kind not in "iu" or guess.dtype.kind != "f":
        return False
    return bool((labels.dropna().astype(object).abs() >= _LARGEST_EXACT).any())


def refuse_respelt(table: pd.DataFrame, levels: Sequence[str]) -> None:
    """Refuse levels whose labels changed when pandas guessed the column's type.

    Raises
    ------
    DataError
        With two labels that became one, or one that changed, and how to read them.
    """
    note = table.attrs.get(_NOTE)
    if not isinstance(note, Mapping):
        return
    for name in levels:
        words = note["columns"].get(name)
        if not words or name not in table or isinstance(table[name].dtype, pd.StringDtype):
            continue  # since then made text, or left out
        if len(words) > 1:
            said = f"has the labels {shown(words[0])} and {shown(words[1])}, which were read as one"
        else:
            said = (
                f"has labels such as {shown(words[0])}, which were read as numbers spelt otherwise"
            )
        raise DataError(
            f"column {name!r} of {note['source']} {said}. Read the column as it is written: "
            f"read_table({note['source']!r}, levels=[{name!r}]); or keep the numbers as labels: "
            f"table[{name!r}].astype(str)."
        )
