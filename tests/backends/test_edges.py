"""Densities at the edges of what can be computed: every backend and formulation against 50 digits."""

from functools import cache

import pytest
from edges import CASES, EDGES

from nestor.backend import Reusable
from nestor.engines import registry
from nestor.engines.formulation import Formulation

#: Relative to the larger of 1 and the density.
BOUND = 1e-8
#: Of the reference's marginal density, which the others are compared with elsewhere.
BOUND_OF_REFERENCE = 1e-11


def announced():
    """Every installed backend with each of the formulations that it announces."""
    for name, entry in registry.backends().items():
        can = entry.backend.capabilities()
        found = can.coefficients & {"marginalized"}
        if "sampled" in can.coefficients:
            found |= can.likelihoods & {"statistics"}
        for words in sorted(found):
            if entry.installed:
                yield pytest.param(name, words, id=f"{name}-{words}")


@cache
def model_of(backend, words, edge):
    problem = next(case for case in CASES if case.edge == edge).problem
    return compiled(backend, words, problem)


def compiled(backend, words, problem):
    formulation = Formulation.parse([words], problem.spec.level_names)
    return registry.get(backend).backend.compile(
        problem, formulation, sampler=None, device="cpu", dtype="float64"
    )


def model_for(backend, words, case):
    """The problem's model; with another outcome where that needs no other compilation."""
    model = model_of(backend, words, case.edge)
    if not case.simulated:
        return model
    if isinstance(model, Reusable):
        return model.with_outcome(case.problem.y)
    return compiled(backend, words, case.problem)


def differences(backend, words, case):
    """Relative differences from the exact numbers."""
    model = model_for(backend, words, case)
    if words == "marginalized":
        pairs = [(case.scales, case.marginal)]
    else:
        pairs = list(zip(case.points, case.joint, strict=True))
    return [abs(model.log_density(point) - exact) / max(1.0, abs(exact)) for point, exact in pairs]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(("backend", "words"), list(announced()))
def test_densities_are_exact_at_the_edges(backend, words, edge):
    found = {str(c): max(differences(backend, words, c)) for c in CASES if c.edge == edge}
    wrong = {name: f"{worst:.1e}" for name, worst in found.items() if not worst <= BOUND}
    assert not wrong


@pytest.mark.parametrize("edge", EDGES)
def test_the_references_marginal_is_exact_to_many_more_digits(edge):
    found = {
        str(c): max(differences("reference", "marginalized", c)) for c in CASES if c.edge == edge
    }
    assert max(found.values()) <= BOUND_OF_REFERENCE, found
