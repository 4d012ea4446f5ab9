"""Checks of all values that a backend returns, made where it returns them.

After these checks draws, statistics, seconds, settings, versions and progress are what the rest of nestor
takes them for: arrays of the right names, shapes and kinds of numbers, and plain values. So a backend's
mistake is that engine's failure, named where it was made, and no crash of whoever reads its results.

Draws and statistics that are not finite pass: the gates find them, and they are a verdict on the draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nestor.engines.optional import LazyDraws
from nestor.engines.protocol import Draws, Timings
from nestor.errors import EngineFailed
from nestor.errors.arguments import LARGEST, is_number
from nestor.errors.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.protocol import Backend, DType, Progress
    from nestor.model.priors import Prior

    type Array = NDArray[Any]
    type Shape = tuple[int, ...]

#: Statistics that are arithmetic's: neither yes nor no, nor whole numbers that wrap around.
_NUMBERS: Final = ("energy", "lp", "log_jacobian", "acceptance_rate", "step_size")
#: Statistics that count something; what they count in all chains must fit 64 bits.
_COUNTS: Final = ("n_steps", "tree_depth")
_LARGEST_COUNT: Final = 2**40
#: Settings are a few words and numbers; beyond this they are no settings.
_DEEPEST, _MOST_SETTINGS, _LONGEST_TEXT = 10, 10_000, 10_000
#: A version, and the name of a statistic or a setting, are a word or two.
_LONGEST_WORD: Final = 200
#: Roundings by which an engine may leave the support of a prior: a few for its transformation.
_ROUNDINGS: Final = 8


def check_draws(
    problem: Problem, draws: object, n_chain: int, n_draw: int, dtype: DType = "float64"
) -> Draws:
    """Check draws against the contract.

    Parameters
    ----------
    problem : Problem
        What was sampled.
    draws : object
        What the backend returned.
    n_chain, n_draw : int
        What was asked for.
    dtype : {"float64", "float32"}
        The engine's precision, whose rounding the support of a prior allows for.

    Returns
    -------
    Draws
        With arrays of NumPy's own kinds and plain values; values in double precision. What is deferred is
        checked by `check_block` when it is made.

    Raises
    ------
    EngineFailed
        If a name, a shape or a kind of value is not what the contract says, or a draw lies outside the
        support of its prior.
    """
    if not isinstance(draws, Draws):
        raise EngineFailed(
            f"the backend returned a {_kind(draws)}, not nestor.engines.protocol.Draws."
        )
    lead = (n_chain, n_draw)
    values = _values(problem, draws, lead)
    support = Support(problem, dtype)
    for name, array in values.items():
        for chain in range(n_chain):
            support.check(name, array[chain], chain, 0)
    return Draws(
        values=values,
        stats=_stats(draws.stats, lead),
        timings=_timings(draws.timings, n_chain),
        settings=_settings(draws.settings),
        device_peak_bytes=_bytes(draws.device_peak_bytes),
        deferred=draws.deferred,
    )


def encodable(text: str) -> str:
    """Return text that every stream can write: lone surrogates as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def check_block(name: str, block: object) -> NDArray[np.float64]:
    """Return a block of deferred values in double precision.

    Raises
    ------
    EngineFailed
        If it holds anything but real numbers.
    """
    return _real(name, block)


def check_versions(backend: Backend) -> dict[str, str]:
    """Ask a backend for its versions.

    Raises
    ------
    EngineFailed
        If it raises, or returns anything but text by text.
    """
    where = f"versions() of the backend {printable(str(backend.name))}"
    try:
        found = backend.versions()
        given = dict(found)
    except Exception as error:
        raise EngineFailed(f"{where} failed with {type(error).__name__}: {_cut(error)}") from error
    for name, version in given.items():
        if not (_is_word(name) and _is_word(version)):
            raise EngineFailed(
                f"{where} must map a library's name to its version, both text, not {_cut(name, repr)} to "
                f"{_cut(version, repr)}."
            )
    return {str(name): str(version) for name, version in given.items()}


def check_environment(ask: Callable[[], object], who: str) -> dict[str, str]:
    """Ask a backend for environment variables.

    Parameters
    ----------
    ask : callable
        Its method, with what it takes.
    who : str
        Which method, for the message.

    Raises
    ------
    EngineFailed
        If it raises, or returns anything but text by text that an environment can hold.
    """
    try:
        found = ask()
    except Exception as error:
        raise EngineFailed(f"{who} failed with {type(error).__name__}: {_cut(error)}") from error
    if not isinstance(found, Mapping):
        raise EngineFailed(f"{who} returned a {_kind(found)}, not a mapping of text to text.")
    for name, value in found.items():
        texts = isinstance(name, str) and isinstance(value, str)
        if not texts or not name or "=" in name or "\0" in name + value:
            raise EngineFailed(
                f"{who} asks for {_cut(name, repr)} = {_cut(value, repr)}, which is no variable."
            )
    return {str(name): str(value) for name, value in found.items()}


def check_log_density(found: object) -> float:
    """Return a log density as a number; infinities and NaN are for the comparison to judge.

    Raises
    ------
    EngineFailed
        If it is anything but one real number.
    """
    array = _array("a log density", found)
    if array.dtype.kind not in "fiu" or array.size != 1:
        raise EngineFailed(f"the backend's log_density returned {_cut(found, repr)}, not a number.")
    return float(array.reshape(())[()])


def check_seconds(name: str, found: object) -> float | None:
    """Return the seconds of a phase; None where they are not known.

    Raises
    ------
    EngineFailed
        If they are no finite number of at least 0.
    """
    if found is None:
        return None
    plain = isinstance(found, Real) and not isinstance(found, bool | np.bool_)
    if not plain or not 0 <= (seconds := float(found)) < math.inf:  # type: ignore[arg-type]
        raise EngineFailed(f"the backend's seconds of {name} are {_cut(found, repr)}.")
    return seconds


def check_progress(found: Progress) -> dict[str, int | str]:
    """Return a report of progress as plain values.

    Raises
    ------
    EngineFailed
        If it is not the state of a chain.
    """
    numbers = {name: getattr(found, name, None) for name in ("chain", "done", "total")}
    numbers["divergences"] = getattr(found, "divergences", None)
    phase = getattr(found, "phase", None)
    if not _is_word(phase) or not all(_is_count(number) for number in numbers.values()):
        raise EngineFailed(f"the backend reported the progress {_cut(found, repr)}.")
    return {
        "chain": int(numbers["chain"]),  # type: ignore[arg-type]
        "phase": str(phase),
        **{name: int(numbers[name]) for name in ("done", "total", "divergences")},  # type: ignore[arg-type]
    }


@dataclass(frozen=True)
class _Bounds:
    """Where one entry of a variable's last dimension may lie, rounding allowed for."""

    position: int | None
    low: float
    high: float
    address: str
    prior: Prior


class Support:
    """The supports of a problem's priors: where draws of its variables may lie.

    The ends belong to it: a number that is nearer to one than rounding can tell is rounded to it. So is a
    scale that is too small for the precision, whose logarithm a sampler moves: to exactly zero.

    Parameters
    ----------
    problem : Problem
        Whose priors.
    dtype : {"float64", "float32"}
        Precision in which draws were computed.
    """

    def __init__(self, problem: Problem, dtype: DType = "float64") -> None:
        self._problem = problem
        self._eps = _ROUNDINGS * float(np.finfo(dtype).eps)
        self._bounds: dict[str, list[_Bounds]] = {}
        priors = problem.priors
        for j, effect in enumerate(problem.effects):
            if effect in priors.beta:
                self._add("beta", j, effect, priors.beta[effect])
        for j, (name, prior) in enumerate(priors.gamma.items()):
            self._add("gamma", j, name, prior)
        for level, by_effect in priors.tau.items():
            for j, (effect, prior) in enumerate(by_effect.items()):
                self._add(f"tau_{level}", j, effect, prior)
        for name, prior in priors.family.items():
            if not prior.is_fixed:
                self._add(name, None, "", prior)

    def _add(self, variable: str, position: int | None, effect: str, prior: Prior) -> None:
        low, high = prior.bounds
        if low == -math.inf and high == math.inf:
            return
        # No rounding makes a positive number negative, but it moves the ends of an interval.
        room = self._eps * max(abs(end) for end in (low, high) if math.isfinite(end))
        lowest = low if low == 0.0 else low - room
        address = variable if position is None else f"{variable}[{printable(effect)}]"
        found = _Bounds(position, lowest, high + room, address, prior)
        self._bounds.setdefault(variable, []).append(found)

    def check(self, variable: str, values: Array, chain: int, first: int) -> None:
        """Look at draws of a variable of one chain.

        Parameters
        ----------
        variable : str
            Its name.
        values : ndarray, (draw, *shape)
            Some of the chain's draws.
        chain, first : int
            The chain, and the number of the first of these draws in it.

        Raises
        ------
        EngineFailed
            If one lies outside the support of its prior, with its name, chain, number and value.
        """
        for bounds in self._bounds.get(variable, ()):
            found = values if bounds.position is None else values[..., bounds.position]
            outside = (found < bounds.low) | (found > bounds.high)  # not NaN, which the gates find
            if not outside.any():
                continue
            where = np.argwhere(outside)
            draw, *rest = (int(i) for i in where[0])
            name = bounds.address
            if rest:  # the scale of one parent node
                dims = self._problem.variables[variable].dims
                node = printable(str(self._problem.coords[dims[0]][rest[0]]))
                name = f"{variable}[{node}, {name.partition('[')[2]}"
            low, high = bounds.prior.bounds
            more = f" ({len(where)} such values in this chain)" if len(where) > 1 else ""
            raise EngineFailed(
                f"the backend returned {name} = {found[tuple(where[0])]:.6g} at draw {first + draw} of "
                f"chain {chain}{more}: outside the support of its prior {bounds.prior}, "
                f"{low:g} to {high:g}."
            )


def _values(problem: Problem, draws: Draws, lead: Shape) -> dict[str, NDArray[np.float64]]:
    """Draws of every variable in its shape, and of nothing else, in double precision."""
    given = _mapping("values", draws.values)
    later = {} if draws.deferred is None else _deferred_shapes(draws.deferred)
    known = problem.variables
    if extra := [name for name in (*given, *later) if name not in known]:
        raise EngineFailed(
            f"the backend returned draws of {_cut(extra[0])}, which is no variable of the problem; it has "
            f"{_cut(', '.join(known))}."
        )
    if twice := sorted(given.keys() & later.keys()):
        raise EngineFailed(f"the backend both returned and deferred {_cut(twice[0])}.")
    values = {}
    for name, variable in known.items():
        expected = (*lead, *variable.shape)
        if name in later:
            _same_shape(name, later[name], expected)
        elif name not in given:
            raise EngineFailed(f"the backend returned no draws of {name}.")
        else:
            array = _array(name, given[name])
            _same_shape(name, array.shape, expected)
            values[name] = _real(name, array)
    return values


def _deferred_shapes(deferred: object) -> dict[str, Shape]:
    if not isinstance(deferred, LazyDraws):
        raise EngineFailed(
            f"the backend deferred draws to a {_kind(deferred)}, which makes no blocks."
        )
    shapes = _mapping("shapes of deferred values", deferred.shapes)
    if not shapes:
        raise EngineFailed("the backend deferred draws, but of no variable.")
    for name, shape in shapes.items():
        if not isinstance(shape, tuple) or not all(_is_count(size) for size in shape):
            raise EngineFailed(f"the backend deferred {name} with shape {_cut(shape, repr)}.")
    return {name: tuple(int(size) for size in shape) for name, shape in shapes.items()}


def _same_shape(name: str, found: Shape, expected: Shape) -> None:
    if found != expected:
        raise EngineFailed(f"the backend returned {name} with shape {found}, not {expected}.")


def _real(name: str, found: object) -> NDArray[np.float64]:
    array = _array(name, found)
    if array.dtype.kind != "f":
        raise EngineFailed(f"the backend returned {name} as {array.dtype}, not as float64.")
    with np.errstate(over="ignore"):  # an extended number beyond double precision: infinite
        return np.asarray(array, dtype=np.float64)


def _stats(found: object, lead: Shape) -> dict[str, Array]:
    """Statistics that a DataTree and netCDF can hold, (chain, draw) each."""
    stats = {}
    for name, given in _mapping("stats", found).items():
        if not (_is_word(name) and "/" not in name) or name in ("chain", "draw"):
            raise EngineFailed(f"the backend returned a statistic named {_cut(name, repr)}.")
        array = _array(name, given)
        if array.shape != lead:
            raise EngineFailed(
                f"the backend returned the statistic {name} with shape {array.shape}, not {lead}."
            )
        if array.dtype.kind not in ("iuf" if name in _NUMBERS else "biuf"):
            raise EngineFailed(f"the backend returned the statistic {name} as {array.dtype}.")
        if name in _COUNTS and not np.all((array >= 0) & (array <= _LARGEST_COUNT)):
            raise EngineFailed(f"the backend returned a statistic {name} that counts nothing.")
        if name == "diverging" and not np.isin(array, (0, 1)).all():
            raise EngineFailed("the backend returned a statistic diverging that is not yes or no.")
        whole = name in _NUMBERS and array.dtype.kind != "f"
        stats[name] = _native(array.astype(np.float64) if whole else array)
    return stats


def _native(array: Array) -> Array:
    """Return an array in this machine's byte order and a precision that files support."""
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        with np.errstate(over="ignore"):
            return array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _timings(found: object, n_chain: int) -> Timings:
    if not isinstance(found, Timings):
        raise EngineFailed(
            f"the backend's timings are a {_kind(found)}, not nestor.engines.protocol.Timings."
        )
    phases = [field for field in Timings.__dataclass_fields__ if not field.endswith("_per_chain")]
    seconds = {name: check_seconds(name, getattr(found, name)) for name in phases}
    chains: dict[str, tuple[float, ...]] = {}
    for name in ("warmup_per_chain", "sampling_per_chain"):
        given = getattr(found, name)
        if not isinstance(given, tuple | list) or len(given) not in (0, n_chain):
            raise EngineFailed(
                f"the backend's {name} is {_cut(given, repr)}, not seconds of each of {n_chain} chains."
            )
        known = [check_seconds(name, value) for value in given]
        if None in known:
            raise EngineFailed(f"the backend's {name} lacks the seconds of a chain.")
        chains[name] = tuple(value for value in known if value is not None)
    return replace(Timings(), **seconds, **chains)  # type: ignore[arg-type]


def _settings(found: object) -> dict[str, object]:
    """Settings as JSON has them: text, numbers, None, lists and mappings, not deep and not many."""
    left = _MOST_SETTINGS

    def plain(value: object, depth: int) -> object:
        nonlocal left
        left -= 1
        if depth > _DEEPEST or left < 0:
            raise EngineFailed(
                f"the backend's settings are nested more than {_DEEPEST} deep, or are more than "
                f"{_MOST_SETTINGS} values."
            )
        match value:
            case None | bool():
                return value
            case np.generic() | np.ndarray():
                return plain(value.tolist() if value.size <= left else None, depth + 1)
            case Integral():
                return _whole("a setting", int(value))
            case Real():
                number = float(value)
                return number if math.isfinite(number) else None
            case str():
                return encodable(value[:_LONGEST_TEXT])
            case Mapping():
                return {_word(key): plain(item, depth + 1) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [plain(item, depth + 1) for item in value]
        raise EngineFailed(
            f"the backend's settings hold a {_kind(value)}, which is no plain value."
        )

    settings = {_word(name): plain(value, 1) for name, value in _mapping("settings", found).items()}
    depth = settings.get("max_tree_depth")
    if depth is not None and not _is_count(depth):
        raise EngineFailed(f"the backend's setting max_tree_depth is {_cut(depth, repr)}.")
    return settings


def _word(found: object) -> str:
    if not _is_word(found):
        raise EngineFailed(f"the backend named a setting {_cut(found, repr)}.")
    return str(found)


def _whole(what: str, number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise EngineFailed(f"the backend returned {what} of {_cut(hex(number))}: beyond 64 bits.")
    return number


def _bytes(found: object) -> int | None:
    if found is None:
        return None
    if not _is_count(found):
        raise EngineFailed(f"the backend's device_peak_bytes is {_cut(found, repr)}.")
    return int(found)  # type: ignore[call-overload, no-any-return]


def _is_count(found: object) -> bool:
    """Whether this is a whole number of at least 0 that 64 bits hold."""
    return is_number(found, Integral) and 0 <= int(found) <= LARGEST


def _is_word(found: object) -> bool:
    """Whether this is a line of text that is not empty."""
    return isinstance(found, str) and 0 < len(found) <= _LONGEST_WORD and found.isprintable()


def _mapping(what: str, found: object) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise EngineFailed(f"the backend's {what} are a {_kind(found)}, not a mapping by name.")
    given = dict(found)
    odd = [name for name in given if not isinstance(name, str)]
    if odd:
        raise EngineFailed(
            f"the backend's {what} have a name that is no text: {_cut(odd[0], repr)}."
        )
    return given


def _array(name: str, found: object) -> Array:
    try:
        return np.asarray(found)
    except Exception as error:
        raise EngineFailed(
            f"the backend returned {name} as a {_kind(found)}, which is no array: {_cut(error)}"
        ) from error


def _kind(found: object) -> str:
    return f"value of type {type(found).__name__}"


def _cut(found: object, spell: Callable[[Any], str] = str) -> str:
    """Return a value as text of one line, cut where it is too long."""
    try:
        text = spell(found)
    except Exception:  # noqa: BLE001 - a stranger's __str__ or __repr__
        text = f"a {_kind(found)}"
    line = printable(" ".join(text.split()))
    return line if len(line) <= _LONGEST_WORD else f"{line[:_LONGEST_WORD]}..."
