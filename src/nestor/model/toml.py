"""TOML files that users write, read within bounds of length, depth and size of numbers."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

from nestor.errors import SpecError
from nestor.errors.arguments import LARGEST, shown

if TYPE_CHECKING:
    from pathlib import Path

#: Characters of a file. The longest scenario that comes with nestor has fewer than 4,000.
_MOST_CHARACTERS: Final = 1_000_000
#: Brackets inside brackets, and parts of a dotted key; what nestor reads has fewer than 10.
_DEEPEST: Final = 100
# Everything that may hold brackets and dots that mean nothing: text in its four forms, and comments.
_OPAQUE = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|' + r"'''.*?'''|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'|#[^\n]*",
    re.DOTALL,
)


def read_toml(path: Path, what: str) -> str:
    """Return the text of a file, without a byte order mark.

    Parameters
    ----------
    path : Path
        A regular file.
    what : str
        How messages call it.

    Raises
    ------
    SpecError
        If it cannot be read, is no UTF-8 text, or is longer than any description.
    """
    try:
        # A device or a pipe might never end.
        if path.exists() and not path.is_file():
            raise SpecError(f"cannot read the {what} {path}: it is no file.")
        with path.open(encoding="utf-8-sig") as stream:
            text = stream.read(_MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpecError(f"cannot read the {what} {path}: {reason}.") from None
    return text


def parse_toml(text: object, what: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Parameters
    ----------
    text : str
        The text.
    what : str
        How messages call it.

    Raises
    ------
    SpecError
        If it is not TOML, is nested deeper or longer than anything that is read from it, or has a whole
        number of more than 64 bits.
    """
    if not isinstance(text, str):
        raise SpecError(f"the {what} is text in TOML, not {type(text).__name__}.")
    if len(text) > _MOST_CHARACTERS:
        raise SpecError(f"the {what} is longer than {_MOST_CHARACTERS:,} characters.")
    if _is_deep(text):
        raise SpecError(
            f"the {what} nests more than {_DEEPEST} brackets, or has a key of more than {_DEEPEST} parts."
        )
    try:
        fields = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # ValueError: also a number of thousands of digits
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise SpecError(f"the {what} is not valid TOML: {said}.") from None
    for key, value in fields.items():
        _refuse_large(value, key, what)
    return fields


def _is_deep(text: str) -> bool:
    plain = _OPAQUE.sub("", text)
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", plain):
        depth += 1 if bracket in "[{" else -1
        if depth > _DEEPEST:
            return True
    return any(part.count(".") >= _DEEPEST for part in re.split(r"[=,\[\]{}\n]", plain))


def _refuse_large(value: object, where: str, what: str) -> None:
    """Refuse whole numbers that TOML's 64 bits do not hold."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_large(inner, f"{where}.{key}", what)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _refuse_large(inner, f"{where}[{i}]", what)
    elif isinstance(value, int) and not -LARGEST - 1 <= value <= LARGEST:
        raise SpecError(
            f"the {what}: {where[:100]} is {shown(value)}, and whole numbers in TOML have at most 64 bits."
        )
