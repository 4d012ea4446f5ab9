"""Seeds: the same gives the same draws, another gives others, and no two chains are alike."""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np

from nestor.conformance.check import Check, Engine, Subject, expect, for_samplers
from nestor.conformance.drawing import build, config, first, well_formed
from nestor.conformance.problems import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.conformance.session import Run, Session


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of seeds."""
    by_name = {
        "the_same_seed_gives_the_same_draws": _same,
        "another_seed_gives_other_draws": _other,
        "chains_differ_from_each_other": _chains,
    }
    yield from for_samplers(subject, by_name, every=True)


def _same(session: Session, engine: Engine) -> None:
    before = first(session, engine)
    again = session.run_again(build(session, engine), config(session))
    for name, array in before.draws.values.items():
        same = name in again.draws.values and np.array_equal(
            array, again.draws.values[name], equal_nan=True
        )
        expect(same, f"two runs with seed {config(session).seed} have other draws of {name}")


def _other(session: Session, engine: Engine) -> None:
    before = first(session, engine)
    other = session.run(build(session, engine), config(session, seed=12))
    for name, a, b in _random(before, other):
        for i, j in product(range(len(a)), range(len(b))):
            expect(
                not np.array_equal(a[i], b[j]),
                f"{name} of chain {i} with seed 11 and of chain {j} with seed 12 are the same",
            )


def _chains(session: Session, engine: Engine) -> None:
    run = well_formed(session, engine)
    for name, array, _ in _random(run, run):
        for i, j in combinations(range(len(array)), 2):
            expect(
                not np.array_equal(array[i], array[j]), f"{name} is the same in chains {i} and {j}"
            )


def _random(a: Run, b: Run) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the draws of variables that have a random entry, from both runs."""
    for variable in contract().random_variables:
        name = variable.name
        if name in a.draws.values and name in b.draws.values:
            yield name, a.draws.values[name], b.draws.values[name]
