"""Backends, found through the entry-point group ``nestor.backends``: a new one touches no line here."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nestor.engines.protocol import Backend, Capabilities
from nestor.errors import NestorWarning, SpecError
from nestor.errors.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

GROUP = "nestor.backends"


@dataclass(frozen=True)
class Entry:
    """A backend that some distribution announces.

    Parameters
    ----------
    backend : Backend
        The backend, constructed.
    missing : tuple of str
        Import names that it needs and that are not installed.
    install : str
        The command that installs what is missing.
    """

    backend: Backend
    missing: tuple[str, ...]
    install: str

    @property
    def name(self) -> str:
        """The backend's name."""
        return self.backend.name

    @property
    def installed(self) -> bool:
        """Whether everything that the backend needs can be imported."""
        return not self.missing


def load(points: Iterable[EntryPoint]) -> dict[str, Entry]:
    """Load backends from entry points; a broken one, or several with one name, warn and are skipped."""
    found: dict[str, Entry] = {}
    by_name: dict[str, list[EntryPoint]] = {}
    for point in sorted(points, key=lambda p: p.name):
        by_name.setdefault(point.name, []).append(point)
    for name, same in by_name.items():
        if len(same) > 1:
            warnings.warn(_ambiguous(name, same), NestorWarning, stacklevel=2)
            continue
        entry = _load_one(same[0], _origin(same[0]))
        if entry is not None:
            found[name] = entry
    return found


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _ambiguous(name: str, points: Sequence[EntryPoint]) -> str:
    origins = " and ".join(_origin(point) for point in points)
    return f"several installed distributions offer a backend {name!r}: {origins}. Uninstall all but one."


@cache
def backends() -> Mapping[str, Entry]:
    """Return every announced backend by name, installed or not."""
    return load(entry_points(group=GROUP))


def get(name: str) -> Entry:
    """Return the installed backend called `name`.

    Raises
    ------
    SpecError
        If it is unknown, announced by several distributions, or known and not installed; the message has the
        command that installs it.
    """
    known = backends()
    if name not in known:
        same = [point for point in entry_points(group=GROUP) if point.name == name]
        raise SpecError(_ambiguous(name, same) if len(same) > 1 else _unknown(name, known))
    entry = known[name]
    if entry.missing:
        raise SpecError(
            f"engine {name!r} is not installed (missing {', '.join(entry.missing)}): {entry.install}"
        )
    return entry


def _unknown(name: str, known: Mapping[str, Entry]) -> str:
    installed = ", ".join(n for n, entry in known.items() if entry.installed) or "none"
    samplers = [f"{n}:{s}" for n, entry in known.items() for s in entry.backend.samplers]
    parts = [f"unknown engine {name!r}.{did_you_mean(name, [*known, *samplers])}"]
    parts.append(f"Installed: {installed}.")
    if absent := [f"{n} ({entry.install})" for n, entry in known.items() if not entry.installed]:
        parts.append(f"Known but not installed: {', '.join(absent)}.")
    return " ".join(parts)


def _load_one(point: EntryPoint, origin: str) -> Entry | None:
    try:
        backend = point.load()()
        _check(point.name, backend)
        missing = tuple(name for name in backend.requires if find_spec(name) is None)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises must not end ours
        warnings.warn(
            f"backend {point.name!r} of {origin} is skipped: {type(error).__name__}: {error}",
            NestorWarning,
            stacklevel=2,
        )
        return None
    package = f"'nestor[{point.name}]'" if origin == "nestor" else origin
    return Entry(backend, missing, f"pip install {package}")


def _check(name: str, backend: object) -> None:
    if not isinstance(backend, Backend):
        wanted = "name, requires, samplers, implementation, capabilities, versions, compile"
        raise TypeError(f"{type(backend).__name__} is not a backend; one has {wanted}")
    if backend.name != name:
        raise ValueError(f"its name is {backend.name!r}, the entry point's is {name!r}")
    if not isinstance(backend.implementation, str):
        raise TypeError(f"its implementation is {backend.implementation!r}, not text")
    for field in ("requires", "samplers"):
        words = getattr(backend, field)
        if not isinstance(words, tuple | list) or not all(isinstance(w, str) for w in words):
            raise TypeError(f"its {field} are {words!r}, not a tuple of texts")
    found = backend.capabilities()
    if not isinstance(found, Capabilities):
        raise TypeError(f"its capabilities() are a {type(found).__name__}, not Capabilities")
    if text := [key for key in found.reasons if isinstance(key, str)]:
        raise TypeError(f"its reasons have the key {text[0]!r}, which is text, not Missing(...)")
