"""Draws that are made block by block, where a backend offers them: they are those that it holds in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.conformance.check import Check, Engine, NotOffered, Subject, expect, for_samplers
from nestor.conformance.drawing import build, well_formed
from nestor.conformance.problems import contract
from nestor.engines.protocol import SupportsLazyDraws

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from nestor.conformance.session import Session
    from nestor.engines.optional import LazyDraws

    type Arrays = Mapping[str, NDArray[np.float64]]


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the check of deferred draws."""
    yield from for_samplers(subject, {"deferred_draws_are_those_in_memory": _deferring}, every=True)


def _deferring(session: Session, engine: Engine) -> str:
    model = session.model(build(session, engine))
    if not isinstance(model, SupportsLazyDraws):
        raise NotOffered("optional: the compiled model has no with_lazy_draws")
    usual = well_formed(session, engine)
    draws = model.with_lazy_draws().sample(usual.config)
    deferred = draws.deferred
    if deferred is None:
        _same(usual.draws.values, draws.values, "draws of which nothing is deferred are others")
        return "nothing is deferred"
    lead = (usual.config.chains, usual.config.draws)
    shapes = {name: (*lead, *v.shape) for name, v in contract().variables.items()}
    now, later = set(draws.values), set(deferred.shapes)
    expect(not now & later, f"both there and deferred: {', '.join(sorted(now & later))}")
    expect(now | later == set(shapes), f"neither there nor deferred: {set(shapes) - now - later}")
    for name in sorted(later):
        found = tuple(deferred.shapes[name])
        expect(found == shapes[name], f"{name} shall have shape {found}, not {shapes[name]}")
    first = _put_together(deferred, lead)
    _same(usual.draws.values, {**draws.values, **first}, "deferred draws are others")
    _same(first, _put_together(deferred, lead), "making them again gives others")
    _same(first, deferred.load(), "load() gives others than the blocks")
    return f"deferred: {', '.join(deferred.shapes)}"


def _put_together(deferred: LazyDraws, lead: tuple[int, int]) -> Arrays:
    """Make all values by their blocks, each draw of each chain once."""
    found = {name: np.full(shape, np.nan) for name, shape in deferred.shapes.items()}
    times = np.zeros(lead, dtype=int)
    for chain, first, values in deferred.blocks():
        expect(set(values) == set(found), f"a block has {', '.join(values)} only")
        count = len(next(iter(values.values())))
        inside = 0 <= chain < lead[0] and first >= 0 and 0 < count <= lead[1] - first
        expect(inside, f"a block of draws {first} to {first + count} of chain {chain}")
        times[chain, first : first + count] += 1
        for name, block in values.items():
            wanted = (count, *found[name].shape[2:])
            expect(
                np.shape(block) == wanted, f"{name} has a block of {np.shape(block)}, not {wanted}"
            )
            found[name][chain, first : first + count] = block
    expect((times > 0).all(), f"{np.count_nonzero(times == 0)} draws are in no block")
    expect((times == 1).all(), f"{np.count_nonzero(times > 1)} draws are in several blocks")
    return found


def _same(wanted: Arrays, found: Arrays, otherwise: str) -> None:
    expect(set(found) == set(wanted), f"{otherwise} ({', '.join(set(found) ^ set(wanted))})")
    for name, array in found.items():
        expect(np.array_equal(array, wanted[name]), f"{otherwise} ({name})")
