"""What a backend says about itself: attributes, capabilities, versions, signatures, a light import."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from nestor.conformance.check import UNIVERSE, Check, NotOffered, Subject, expect
from nestor.conformance.problems import contract
from nestor.conformance.session import Build, Session
from nestor.engines import registry
from nestor.engines.protocol import Backend, Capabilities, CompiledModel, Missing
from nestor.engines.sampler_backend import SamplerBackend
from nestor.runner.child import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nestor.conformance.check import Tier

KINDS = ("not yet ours", "not in the library", "never")


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of what the backend declares."""
    yield from types()
    yield Check("api", "reasons_are_of_a_known_kind", _reasons)
    yield from exclusions(subject, "api")
    yield Check("api", "signatures_are_the_protocols", _signatures)
    if _entry_points(subject.backend):
        yield Check("api", "name_is_the_entry_points", _registered)
    if any(_address(subject.backend)):
        yield Check("api", "importing_it_loads_nothing_that_it_requires", _light)


def types() -> Iterator[Check]:
    """Yield the checks without which no other one can be chosen."""
    yield Check("api", "has_the_attributes_of_a_backend", _attributes)
    yield Check("api", "is_constructed_without_arguments", _constructed)
    yield Check("api", "capabilities_are_known_words", _words)
    yield Check("api", "versions_are_named", _versions)


def exclusions(subject: Subject, tier: Tier) -> Iterator[Check]:
    """Yield a check for each word that the capabilities lack: a skip with its reason, or a failure."""
    for name in subject.fields:
        for word in subject.lacks(name):
            yield Check(tier, "every_exclusion_has_a_reason", _explained(word), case=word)


def _explained(word: str) -> Callable[[Session], None]:
    def run(session: Session) -> None:
        reason = session.subject.reason([word])
        expect(reason, f"the capabilities lack {word}, and their reasons have none for it")
        raise NotOffered(str(reason))

    return run


def _attributes(session: Session) -> None:
    backend = session.subject.backend
    expect(
        isinstance(backend, Backend),
        "it lacks a part of the protocol nestor.engines.protocol.Backend",
    )
    for name in ("name", "implementation"):
        value = getattr(backend, name)
        expect(isinstance(value, str) and value, f"{name} must be text, not {value!r}")
    for name in ("requires", "samplers"):
        value = getattr(backend, name)
        is_texts = isinstance(value, tuple) and all(isinstance(v, str) and v for v in value)
        expect(is_texts, f"{name} must be a tuple of texts, not {value!r}")
        expect(len(set(value)) == len(value), f"{name} names something twice: {value!r}")
    declared: object = getattr(backend, "expected_failures", {})
    expect(
        isinstance(declared, Mapping) and all(isinstance(key, str) for key in declared),
        f"expected_failures must map ids of checks to reasons, not be {declared!r}",
    )
    for word in (backend.name, *backend.samplers):
        plain = not set(word) & set(":@,= \t\n/")
        expect(plain, f"{word!r} cannot stand in a contender such as backend:sampler@word,word")


def _constructed(session: Session) -> None:
    backend = session.subject.backend
    if isinstance(backend, SamplerBackend) and not _entry_points(backend):
        raise NotOffered("no entry point names a function that makes it")
    made = next((point.load() for point in _entry_points(backend)), type(backend))
    expect(made().name == backend.name, "another instance has another name")


def _words(session: Session) -> None:
    found: Any = session.subject.backend.capabilities()
    expect(isinstance(found, Capabilities), f"capabilities() returns a {type(found).__name__}")
    for name, known in UNIVERSE.items():
        offered = getattr(found, name)
        expect(isinstance(offered, frozenset), f"{name} must be a frozenset, not {offered!r}")
        unknown = sorted(map(repr, offered - set(known)))
        expect(not unknown, f"{name} has unknown words {unknown}; known: {', '.join(known)}")
        if name in session.subject.fields:
            expect(offered, f"{name} is empty")
    reasons: object = found.reasons
    texts = isinstance(reasons, Mapping) and all(
        isinstance(key, Missing) and isinstance(reason, str) and reason
        for key, reason in reasons.items()
    )
    expect(texts, f"reasons must map Missing(...) to text, not be {reasons!r}")
    has_chains = bool(found.chain_methods)
    expect(
        has_chains == bool(session.subject.backend.samplers),
        "chain_methods must be empty where there is no sampler, and only there",
    )


def _reasons(session: Session) -> None:
    found = session.subject.capabilities
    for key, reason in found.reasons.items():
        known = isinstance(reason, str) and reason.startswith(KINDS)
        expect(
            known,
            f"the reason for {str(key)!r} must begin with one of {', '.join(KINDS)}: {reason!r}",
        )
        offered = [name for name in UNIVERSE if key.words <= getattr(found, name)]
        expect(not offered, f"a reason why {str(key)!r} is missing, which {offered} offer")


def _versions(session: Session) -> None:
    given: Any = session.subject.backend.versions()
    expect(isinstance(given, Mapping), f"versions() returns a {type(given).__name__}")
    found = dict(given)
    expect(found, "versions() names nothing: results could not be traced to a release")
    for name, version in found.items():
        plain = isinstance(name, str) and isinstance(version, str) and name and version
        expect(plain, f"versions() must map text to text, not {name!r} to {version!r}")


def _signatures(session: Session) -> None:
    backend = session.subject.backend
    build = Build(contract(), session.subject.formulation(contract().spec.level_names))
    model = session.model(build)
    pairs: list[tuple[Any, Any]] = [(Backend, backend), (CompiledModel, model)]
    for protocol, found in pairs:
        for name, wanted in inspect.getmembers(protocol, inspect.isfunction):
            if not name.startswith("_"):
                _same_signature(name, wanted, getattr(found, name, None))


def _same_signature(name: str, wanted: Callable[..., Any], found: Any) -> None:
    expect(callable(found), f"{name} is not a method")
    ours = list(inspect.signature(wanted).parameters.values())[1:]
    theirs = list(inspect.signature(found).parameters.values())
    expect(
        [(p.name, p.kind) for p in theirs] == [(p.name, p.kind) for p in ours],
        f"{name}{inspect.signature(found)} differs from the protocol's "
        f"{name}({', '.join(map(str, ours))}): explicit parameters, and no **kwargs",
    )


def _registered(session: Session) -> None:
    for point in _entry_points(session.subject.backend):
        expect(
            point.name == session.subject.backend.name,
            f"the entry point is called {point.name!r}, the backend {session.subject.backend.name!r}",
        )


def _entry_points(backend: Backend) -> list[EntryPoint]:
    """Entry points that announce the backend's class, or a function that makes it."""
    return [point for point in entry_points(group=registry.GROUP) if _announces(point, backend)]


def _announces(point: EntryPoint, backend: Backend) -> bool:
    try:
        made = point.load()
    except Exception:  # noqa: BLE001 - somebody else's, and broken
        return False
    if isinstance(backend, SamplerBackend):
        return not isinstance(made, type) and point.name == backend.name
    return made is type(backend)


def _address(backend: Backend) -> tuple[str, str]:
    """Module and name from which a fresh interpreter makes the backend; empty where it cannot."""
    for point in _entry_points(backend):
        return point.module, point.attr
    kind = type(backend)
    local = kind.__module__ == "__main__" or "<locals>" in kind.__qualname__
    return ("", "") if local or kind is SamplerBackend else (kind.__module__, kind.__qualname__)


_LIGHT = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
import nestor.backend, nestor.errors, nestor.data.problem
import nestor.engines.formulation, nestor.engines.registry
before = set(sys.modules)
backend = getattr(importlib.import_module(sys.argv[2]), sys.argv[3])()
backend.capabilities(), backend.versions()
loaded = set(sys.modules) - before
print("\\n" + json.dumps([name for name in backend.requires if name in loaded]))
"""


def _light(session: Session) -> None:
    command = [*PYTHON, "-c", _LIGHT, json.dumps(sys.path), *_address(session.subject.backend)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    expect(done.returncode == 0, f"a fresh interpreter cannot import it: {done.stderr[-300:]}")
    loaded = json.loads(done.stdout.splitlines()[-1])
    expect(not loaded, f"importing, constructing and asking it loads {', '.join(loaded)}")
