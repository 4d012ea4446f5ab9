"""The contract of `log_density`, whatever its value."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nestor.agreement.density import density_points
from nestor.conformance.check import Check, Engine, Subject, expect, for_samplers
from nestor.conformance.problems import contract
from nestor.conformance.session import Build, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from nestor.engines.protocol import CompiledModel

    type Point = dict[str, NDArray[np.float64]]


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of how log densities are evaluated."""
    by_name: dict[str, Callable[..., None]] = {
        "log_density_is_a_python_float": _float,
        "log_density_leaves_its_point_alone": _untouched,
        "log_density_ignores_inherited_and_fixed_entries": _ignores,
        "log_density_is_minus_infinity_outside_the_support": _outside,
    }
    for i, how in enumerate(subject.coefficients):
        for name, run in by_name.items():
            case = how if i else ""
            yield Check("api", name, partial(run, coefficients=how), case, frozenset({how}))
    same = {"a_model_with_a_sampler_has_the_same_log_density": _same}
    yield from for_samplers(subject, same, every=True)


def _model(session: Session, coefficients: str, sampler: str | None = None) -> CompiledModel:
    problem = contract()
    formulation = session.subject.formulation(problem.spec.level_names, coefficients)
    return session.model(Build(problem, formulation, sampler))


def _points(n: int = 3) -> list[Point]:
    return [_copy(point) for point in density_points(contract(), n, seed=5)]


def _float(session: Session, coefficients: str) -> None:
    model = _model(session, coefficients)
    for point in _points():
        value = model.log_density(point)
        expect(type(value) is float, f"log_density returns a {type(value).__name__}")
        expect(math.isfinite(value), f"log_density is {value} inside the support")
        expect(model.log_density(point) == value, "two evaluations at one point differ")


def _untouched(session: Session, coefficients: str) -> None:
    model = _model(session, coefficients)
    for point in _points():
        before = _copy(point)
        model.log_density(point)
        changed = [
            n for n, a in before.items() if n not in point or not np.array_equal(a, point[n])
        ]
        expect(not changed and set(point) == set(before), f"log_density changes {changed}")
        for array in before.values():
            array.flags.writeable = False
        model.log_density(before)  # whoever writes into it raises here


def _copy(point: Mapping[str, NDArray[np.float64]]) -> Point:
    return {name: np.array(array) for name, array in point.items()}


def _ignores(session: Session, coefficients: str) -> None:
    model, problem = _model(session, coefficients), contract()
    marginalized = coefficients == "marginalized"
    what = "inherited from the parent or fixed at zero"
    if marginalized:
        what = "marginalized"
    for point in _points():
        other = {
            name: np.full_like(point[name], 99.0)
            if marginalized and v.role in ("population", "node")
            else np.where(v.random, point[name], 99.0)
            for name, v in problem.variables.items()
        }
        expect(
            model.log_density(other) == model.log_density(point),
            f"log_density depends on entries that are {what}",
        )


def _outside(session: Session, coefficients: str) -> None:
    model, problem = _model(session, coefficients), contract()
    inside = _points(1)[0]
    for variable in problem.variables.values():
        if variable.role not in ("scale", "family"):
            continue
        for value in (-1.0, 0.0):
            outside = _copy(inside)
            outside[variable.name][...] = value
            found = model.log_density(outside)
            expect(found == -math.inf, f"log_density is {found} at {variable.name} = {value:g}")


def _same(session: Session, engine: Engine) -> None:
    alone = _model(session, engine.coefficients)
    sampling = _model(session, engine.coefficients, engine.sampler)
    for point in _points():
        a, b = alone.log_density(point), sampling.log_density(point)
        expect(
            abs(a - b) <= 1e-10 * max(1.0, abs(a)),
            f"log_density is {a!r} compiled alone and {b!r} compiled with {engine}",
        )
