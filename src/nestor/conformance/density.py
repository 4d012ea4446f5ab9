"""The density tier: log densities equal the reference's, over a grid of models and formulations."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.density import compare_densities, density_points
from nestor.conformance.check import Check, Subject, expect
from nestor.conformance.declaration import exclusions
from nestor.conformance.grid import models
from nestor.conformance.session import Build

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nestor.backend import DType
    from nestor.conformance.grid import Model
    from nestor.conformance.session import Session
    from nestor.formulation import Centering
    from nestor.priors import Prior
    from nestor.problem import Problem

N_POINTS = 12


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of densities."""
    yield from exclusions(subject, "density")
    for model in models(subject.offers("families")):
        for centering in _formulations(model, subject.offers("centering")):
            yield _check(model, centering, "float64", "cpu")
        if "float32" in subject.offers("dtypes") and not model.name.endswith("priors"):
            yield _check(model, subject.centering(len(model.spec().levels)), "float32", "cpu")
        if model.name.endswith("priors"):
            yield _support_check(model, subject)
    if "gpu" in subject.offers("devices"):
        for model in models(subject.offers("families")):
            if model.name == "everything at once":
                centering = subject.centering(len(model.spec().levels))
                yield from (_check(model, centering, d, "gpu") for d in subject.offers("dtypes"))


def _formulations(model: Model, offered: Sequence[str]) -> list[tuple[Any, ...]]:
    """All levels one way, and where both are offered and there are levels enough, alternately."""
    n = len(model.spec().levels)
    found: list[tuple[Any, ...]] = [(how,) * n for how in offered]
    if len(offered) > 1 and n > 1 and not model.name.endswith("priors"):
        found.append(tuple(offered[k % 2] for k in range(n)))
    return found


def _check(model: Model, centering: tuple[Centering, ...], dtype: Any, device: Any) -> Check:
    how = centering[0] if len(set(centering)) == 1 else "mixed"
    case = f"{model.name}, {model.family}, {how}" + "".join(
        f", {word}" for word in (dtype, device) if word not in ("float64", "cpu")
    )
    return Check(
        "density",
        "equals_the_reference",
        partial(_equals, model=model, centering=centering, dtype=dtype, device=device),
        case,
        frozenset({model.family, *centering, dtype, device, *model.features}),
        quick=model.quick and (dtype == "float64" or model.name == "everything at once"),
    )


def _equals(
    session: Session, model: Model, centering: tuple[Any, ...], dtype: DType, device: Any
) -> str:
    problem = model.problem()
    points = density_points(problem, N_POINTS)
    reference = session.reference(problem)
    wanted = [reference.log_density(point) for point in points]
    compiled = session.model(Build(problem, centering, None, device, dtype))
    found = [compiled.log_density(point) for point in points]
    result = compare_densities(session.subject.backend.name, dtype, wanted, found)
    worst = int(result.differences.argmax())
    expect(
        result.same,
        f"{np.count_nonzero(result.differences > result.tolerance)} of {len(points)} points differ by "
        f"more than {result.tolerance:.0e}; the worst by {result.largest:.1e}: {found[worst]!r} where "
        f"the reference has {wanted[worst]!r}",
    )
    return f"largest relative difference {result.largest:.0e}"


def _support_check(model: Model, subject: Subject) -> Check:
    centering = subject.centering(len(model.spec().levels))
    return Check(
        "density",
        "is_minus_infinity_where_a_prior_ends",
        partial(_ends, model=model, centering=centering),
        f"{model.name}, {model.family}",
        frozenset({model.family, *centering, "float64", "cpu", *model.features}),
        quick=False,
    )


def _ends(session: Session, model: Model, centering: tuple[Any, ...]) -> str:
    problem = model.problem()
    compiled = session.model(Build(problem, centering))
    (inside,) = density_points(problem, 1)
    n = 0
    for name, where, prior in _entries(problem):
        for value in _beyond(prior):
            outside = {key: np.array(array) for key, array in inside.items()}
            outside[name][where] = value
            found = compiled.log_density(outside)
            expect(found == -math.inf, f"it is {found} at {name}{list(where)} = {value:g}: {prior}")
            n += 1
    return f"{n} points" if n else "no prior of this family ends"


def _beyond(prior: Prior) -> list[float]:
    low, high = prior.bounds
    found = [low - 0.5] if math.isfinite(low) else []
    return found + ([high + 0.5] if math.isfinite(high) else [])


def _entries(problem: Problem) -> Iterator[tuple[str, tuple[int, ...], Prior]]:
    """Yield one entry of every variable that has a prior of its own."""
    priors = problem.priors
    for j, effect in enumerate(problem.effects):
        if effect in priors.beta:
            yield "beta", (j,), priors.beta[effect]
    for j, prior in enumerate(priors.gamma.values()):
        yield "gamma", (j,), prior
    for level in problem.levels:
        for j, prior in enumerate(priors.tau[level.name].values()):
            yield f"tau_{level.name}", (0, j) if level.per_parent else (j,), prior
    for name, prior in priors.family.items():
        if not prior.is_fixed:
            yield name, (), prior
