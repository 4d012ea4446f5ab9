"""What pydantic finds wrong, in the words of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from nestor.errors.arguments import shown
from nestor.errors.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

_WANTED: Final[Mapping[str, str]] = {
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "names and their values",
    "mapping_type": "names and their values",
    "model_type": "names and their values",
    "model_attributes_type": "names and their values",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of at most 64 bits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
}


def complaint(one: Mapping[str, Any]) -> str:
    """Say what is wrong with a value, in a sentence that lacks the place at its beginning.

    Parameters
    ----------
    one : mapping
        An entry of ``ValidationError.errors()``.
    """
    kind, given, context = one["type"], one["input"], one.get("ctx", {})
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {shown(given)}."
    if kind == "literal_error":
        known = str(context["expected"])
        words = [word.strip("'") for word in known.replace(" or ", ", ").split(", ")]
        meant = did_you_mean(given, words) if isinstance(given, str) else ""
        return f"must be {known}, not {shown(given)}.{meant}"
    if kind == "missing":
        return "is missing."
    if kind in ("too_short", "string_too_short"):
        return "must not be empty."
    said = str(one["msg"]).rstrip(".")
    if kind in ("value_error", "assertion_error"):
        return said.partition("error, ")[2] + "."
    return f"{said.replace('Input should', 'must')}, not {shown(given)}."
