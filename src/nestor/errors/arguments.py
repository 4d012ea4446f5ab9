"""Checks of what callers hand over. Each refusal names the argument and what was given."""

from __future__ import annotations

import math
import os
import reprlib
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from nestor.errors import DataError, NestorError, SpecError
from nestor.errors.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

#: Largest whole number of 64 bits with a sign: what TOML, Arrow and most libraries can hold.
LARGEST: Final = 2**63 - 1
#: Most iterations of a chain: samplers count them in 32 bits.
MOST_ITERATIONS: Final = 2**31 - 1
#: Most chains: each has a state, a stream of random numbers and a line of progress of its own.
MOST_CHAINS: Final = 10**6


#: Characters of a formula that stands in a representation.
LONGEST_FORMULA: Final = 240


def shown(value: object, width: int = 80) -> str:
    """Write any value for a message: as `repr` does, but shortened."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = width
    short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = short.maxdict = 6
    short.maxlevel = 3
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return f"a whole number of about {int(value.bit_length() * math.log10(2)) + 1:,} digits"
    try:
        return short.repr(value)
    except Exception:  # noqa: BLE001 - an object of the user's own may have no text
        return f"an object of type {type(value).__name__}"


def whole(
    name: str,
    value: Any,
    *,
    least: int,
    most: int | None = LARGEST,
    error: type[NestorError] = SpecError,
) -> int:
    """Return `value` if it is an integer of Python or NumPy from `least` to `most`.

    Parameters
    ----------
    name : str
        How messages call it.
    value : object
        What was given. Booleans, text, floats and arrays are no whole numbers.
    least, most : int
        Both included; without a largest number None.
    error : type of NestorError
        What is raised.
    """
    if not is_number(value, Integral) or int(value) < least:
        raise error(f"{name} must be a whole number of at least {least}, not {shown(value)}.")
    if most is not None and int(value) > most:
        raise error(f"{name} must be at most {most:,}, not {shown(value)}.")
    return int(value)


def number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    what: str = "a finite number",
    error: type[NestorError] = SpecError,
) -> float:
    """Return `value` as a float if it is a finite number, >= `least`, > `above` and < `below`.

    Booleans, text and arrays are no numbers; for the other parameters see `whole`, and `what` is what
    messages say is wanted.
    """
    found = _real(value)
    if (
        found is None
        or (least is not None and found < least)
        or (above is not None and found <= above)
        or (below is not None and found >= below)
    ):
        if above is not None and below is not None:
            raise error(f"{name} must lie between {above:g} and {below:g}, not {shown(value)}.")
        bounds = {" of at least": least, " greater than": above, " less than": below}
        said = "".join(f"{word} {end:g}" for word, end in bounds.items() if end is not None)
        raise error(f"{name} must be {what}{said}, not {shown(value)}.")
    return found


def is_number(value: object, kind: Any) -> TypeGuard[float]:
    """Whether a value is a Real or an Integral, but neither a boolean nor a NumPy duration."""
    plain = isinstance(value, kind) and not isinstance(value, bool)
    return plain and type(value).__name__ != "timedelta64"


def _real(value: object) -> float | None:
    """Return a finite number as a float, and None for anything else."""
    if not is_number(value, Real):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def seconds(name: str, value: Any) -> float | None:
    """Return a number of seconds greater than zero, or None if none is given."""
    if value is None:
        return None
    return number(name, value, above=0.0, what="a number of seconds")


def path(what: str, value: Any, *, error: type[NestorError] = DataError) -> Path:
    """Return `value` as a path, with a leading ``~`` expanded.

    Parameters
    ----------
    what : str
        How messages call it.
    value : object
        What was given: text or a path.
    error : type of NestorError
        What is raised where it is neither, is empty, or cannot be asked for: a null character, the home
        directory of an unknown user, a name that is too long, a folder that may not be entered. Whether
        something is there is for the caller to find out.
    """
    try:
        text = os.fspath(value)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise error(f"{what} must be text or a pathlib.Path, not {type(value).__name__}.")
    if not text.strip():
        raise error(f"{what} is empty.")
    if "\0" in text:
        raise error(f"{what}, {shown(text)}, has a null character, which no file's name can have.")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise error(f"{what}, {shown(text)}, is not valid text.") from None
    try:
        found = Path(text).expanduser()
        found.stat()
    except RuntimeError:
        raise error(f"{what}, {shown(text)}: there is no user of that name.") from None
    except (FileNotFoundError, NotADirectoryError):
        return found
    except OSError as failure:  # also whatever else would ask for it: it is found out once, here
        raise error(f"{what}, {shown(text)}: {failure.strerror or failure}.") from None
    return found


def flag(name: str, value: Any, *, error: type[NestorError] = SpecError) -> bool:
    """Return `value` if it is True or False."""
    import numpy as np

    if not isinstance(value, bool | np.bool_):
        raise error(f"{name} must be True or False, not {shown(value)}.")
    return bool(value)


def one_of(
    name: str, value: Any, known: Sequence[str], *, error: type[NestorError] = SpecError
) -> str:
    """Return `value` if it is one of `known`."""
    if not isinstance(value, str) or value not in known:
        words = " or ".join(filter(None, (", ".join(known[:-1]), known[-1])))
        raise error(f"{name} must be {words}, not {shown(value)}.")
    return value


def floats(name: str, value: Any, *, error: type[NestorError] = SpecError) -> NDArray[np.float64]:
    """Return `value` as floats of its own shape, finite or not; for the parameters see `whole`."""
    import numpy as np

    try:
        array = np.asarray(value)
        found = array.astype(np.float64) if array.dtype.kind in "biufO" else None
    except Exception:  # noqa: BLE001 - an object of the user's own may fail to become a number
        found = None
    if found is None:  # numbers written as text, and dates, are refused
        raise error(f"{name} must be numbers, not {shown(value)}.")
    return found


def numbers(
    name: str,
    value: Any,
    shape: tuple[int, ...],
    *,
    positive: bool = False,
    error: type[NestorError] = SpecError,
) -> NDArray[np.float64]:
    """Return `value` as finite floats of `shape`; one number is repeated.

    For a two-dimensional `shape` (depth, p), one value for each of the depth levels is also
    allowed.
    """
    import numpy as np

    array = floats(name, value, error=error)
    if len(shape) == 2 and array.shape == shape[:1]:
        array = array[:, None]
    if array.shape not in ((), shape) and not (len(shape) == 2 and array.shape == (shape[0], 1)):
        wanted = " or ".join(str(s) for s in dict.fromkeys([shape, shape[:1]]))
        raise error(f"{name} must be one number or have shape {wanted}, not {array.shape}.")
    if not np.isfinite(array).all():
        raise error(f"{name} must be finite numbers, not {shown(value)}.")
    if positive and (array <= 0).any():
        raise error(f"{name} must be greater than 0.")
    return np.broadcast_to(array, shape).copy()


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


def pydantic_complaint(one: Mapping[str, Any]) -> str:
    """Say what is wrong with a value: a sentence to which the caller prepends the value's place.

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
