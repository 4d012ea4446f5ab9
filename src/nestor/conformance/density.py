"""The density tier: log densities equal the reference's, over a grid of models and formulations."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.density import compare_densities, density_points
from nestor.conformance.check import Check, Subject, expect
from nestor.conformance.declaration import exclusions
from nestor.conformance.grid import models
from nestor.conformance.session import Build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.conformance.grid import Model
    from nestor.conformance.session import Session
    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import DType
    from nestor.model.priors import Prior

N_POINTS = 12


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of densities."""
    yield from exclusions(subject, "density")
    for model in models(subject.offers("families")):
        for formulation in formulations(model, subject):
            yield _check(model, formulation, "float64", "cpu")
        for usual in _usual(model, subject):
            if "float32" in subject.offers("dtypes") and not model.is_of_priors:
                yield _check(model, usual, "float32", "cpu")
            if model.is_of_priors:
                yield _support_check(model, usual)
            if "gpu" in subject.offers("devices") and model.name == "everything at once":
                yield from (_check(model, usual, d, "gpu") for d in subject.offers("dtypes"))


def _usual(model: Model, subject: Subject) -> list[Formulation]:
    """One formulation for each way of treating coefficients that the model allows."""
    levels = model.spec().level_names
    ways = [how for how in subject.coefficients if how == "sampled" or model.marginalizes]
    if model.name.endswith("priors of scales"):
        ways = [how for how in ways if how == "marginalized"]
    return [subject.formulation(levels, how) for how in ways]


def formulations(model: Model, subject: Subject) -> list[Formulation]:
    """Formulations in which a model is looked at.

    All levels centred one way, and where both are offered and there are levels enough, alternately; each
    likelihood once; and with coefficients marginalized, where the model allows it. What does not depend
    on coefficients, the priors of scales, is looked at once more where there are none.
    """
    levels = model.spec().level_names
    marginalized = [how for how in _usual(model, subject) if how.is_marginalized]
    if "sampled" not in subject.coefficients or model.name.endswith("priors of scales"):
        return marginalized
    usual = subject.formulation(levels, "sampled")
    n, offered = len(levels), subject.offers("centering")
    ways: list[tuple[Any, ...]] = [(how,) * n for how in offered]
    if len(offered) > 1 and n > 1 and not model.is_of_priors:
        ways.append(tuple(offered[k % 2] for k in range(n)))
    sampled = [replace(usual, centering=way) for way in ways]
    if not model.is_of_priors and model.has_statistics:
        others = [word for word in subject.offers("likelihoods") if word != usual.likelihood]
        sampled += [replace(usual, likelihood=word) for word in others]  # type: ignore[arg-type]
    return sampled + marginalized


def words_of(formulation: Formulation) -> frozenset[str]:
    """Words under which a backend may explain that it refuses a formulation."""
    if formulation.is_marginalized:
        return frozenset({"marginalized", "statistics"})
    return frozenset({*formulation.centering, formulation.likelihood, "sampled"})


def name_of(formulation: Formulation) -> str:
    """How checks call a formulation; over rows unless it says otherwise."""
    if formulation.is_marginalized:
        return "marginalized"
    centering = set(formulation.centering)
    how = formulation.centering[0] if len(centering) == 1 else "mixed"
    return how if formulation.likelihood == "rows" else f"{how}, {formulation.likelihood}"


def _check(model: Model, formulation: Formulation, dtype: Any, device: Any) -> Check:
    case = f"{model.name}, {model.family}, {name_of(formulation)}" + "".join(
        f", {word}" for word in (dtype, device) if word not in ("float64", "cpu")
    )
    return Check(
        "density",
        "equals_the_reference",
        partial(_equals, model=model, formulation=formulation, dtype=dtype, device=device),
        case,
        words_of(formulation) | {model.family, dtype, device, *model.features},
        quick=model.quick and (dtype == "float64" or model.name == "everything at once"),
    )


def _equals(
    session: Session, model: Model, formulation: Formulation, dtype: DType, device: Any
) -> str:
    problem = model.problem()
    points = density_points(problem, N_POINTS)
    reference = session.reference(problem, marginalized=formulation.is_marginalized)
    wanted = [reference.log_density(point) for point in points]
    compiled = session.model(Build(problem, formulation, None, device, dtype))
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


def _support_check(model: Model, formulation: Formulation) -> Check:
    extra = ", marginalized" if formulation.is_marginalized else ""
    return Check(
        "density",
        "is_minus_infinity_where_a_prior_ends",
        partial(_ends, model=model, formulation=formulation),
        f"{model.name}, {model.family}{extra}",
        words_of(formulation) | {model.family, "float64", "cpu", *model.features},
        quick=False,
    )


def _ends(session: Session, model: Model, formulation: Formulation) -> str:
    problem = model.problem()
    compiled = session.model(Build(problem, formulation))
    (inside,) = density_points(problem, 1)
    n = 0
    for name, where, prior in _entries(problem):
        if formulation.is_marginalized and problem.variables[name].role == "population":
            continue
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
