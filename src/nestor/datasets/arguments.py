"""Checks of arguments: each refusal names the argument and what was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def generator(seed: int) -> np.random.Generator:
    """Return the generator of a seed, an integer of at least 0."""
    return np.random.default_rng(whole("seed", seed, least=0))


def whole(name: str, value: Any, *, least: int) -> int:
    """Return `value` if it is an integer of at least `least`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise DataError(f"{name} must be an integer, not {value!r}.")
    if value < least:
        raise DataError(f"{name} must be at least {least}, not {value}.")
    return int(value)


def number(
    name: str, value: Any, *, least: float | None = None, above: float | None = None
) -> float:
    """Return `value` as a float if it is a finite number, >= `least` and > `above`."""
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.integer | np.floating
    ):
        raise DataError(f"{name} must be a number, not {value!r}.")
    if not np.isfinite(value):
        raise DataError(f"{name} must be finite, not {value!r}.")
    if least is not None and value < least:
        raise DataError(f"{name} must be at least {least:g}, not {value!r}.")
    if above is not None and value <= above:
        raise DataError(f"{name} must be greater than {above:g}, not {value!r}.")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise DataError(f"{name} must be True or False, not {value!r}.")
    return bool(value)


def one_of(name: str, value: Any, known: Sequence[str]) -> str:
    """Return `value` if it is one of `known`."""
    if value not in known:
        raise DataError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
    return str(value)


def numbers(
    name: str, value: Any, shape: tuple[int, ...], *, positive: bool = False
) -> NDArray[np.float64]:
    """Return `value` as finite floats of `shape`; one number is repeated.

    For a two-dimensional `shape` (depth, p), one value for each of the depth levels is also
    allowed.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} must be numbers, not {value!r}.") from None
    if len(shape) == 2 and array.shape == shape[:1]:
        array = array[:, None]
    if array.shape not in ((), shape) and not (len(shape) == 2 and array.shape == (shape[0], 1)):
        wanted = " or ".join(str(s) for s in dict.fromkeys([shape, shape[:1]]))
        raise DataError(f"{name} must be one number or have shape {wanted}, not {array.shape}.")
    if not np.isfinite(array).all():
        raise DataError(f"{name} must be finite.")
    if positive and (array <= 0).any():
        raise DataError(f"{name} must be greater than 0.")
    return np.broadcast_to(array, shape).copy()
