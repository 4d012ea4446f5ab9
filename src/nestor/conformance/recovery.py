"""Marginalized coefficients: the identity that defines the density, and the draws given the scales.

Whatever the coefficients,

    log p(y, scales) = log p(y, coefficients, scales) - log p(coefficients | y, scales),

and coefficients that are drawn exactly, given the scales of each draw, are a known linear function of those
scales' conditional and of independent standard normal numbers. These numbers are told from the draws, whose
scales may be autocorrelated: means, variances and correlations of them have distributions that are known
exactly, so that the conditional means and covariances of all coefficients, and the independence of siblings
given their parent, are tested without any Monte Carlo error to be estimated.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from nestor.agreement.density import TOLERANCE, density_points
from nestor.agreement.recovery import check_recovery
from nestor.conformance import targets
from nestor.conformance.check import Check, ConformanceFailure, Subject, expect
from nestor.conformance.drawing import misshapen
from nestor.conformance.problems import contract
from nestor.conformance.session import Build
from nestor.engines.formulation import Formulation
from nestor.engines.protocol import SamplerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.conformance.session import Session
    from nestor.conformance.targets import Target
    from nestor.data.problem import Problem

CHAINS, DRAWS, SEED = 4, 500, 21
N_POINTS = 6


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of marginalized coefficients; none where they are not offered."""
    if "marginalized" not in subject.coefficients:
        return
    words = frozenset({"marginalized", "statistics"})
    yield Check("density", "is_the_joint_less_the_conditional_density", _identity, words=words)
    for sampler in subject.samplers:
        for target in targets.TARGETS:
            if target.answers is None and target.marginalizes:
                yield Check(
                    "posterior",
                    "recovers_coefficients_exactly",
                    partial(_recovered, sampler=sampler, target=target),
                    f"{sampler}, {target.name}",
                    words | {sampler, target.family, "sampling", *target.features},
                    quick=target.quick,
                )


def _marginal(problem: Problem, sampler: str | None = None) -> Build:
    return Build(problem, Formulation.marginalized(problem.spec.level_names), sampler)


def _identity(session: Session) -> str:
    """At coefficients from the prior, from around the fit and far away; joint densities its own if it can."""
    problem = contract()
    model = session.model(_marginal(problem))
    oracle: Any = session.reference(problem, marginalized=True)
    joint = session.reference(problem)
    if "sampled" in session.subject.coefficients:
        usual = session.subject.formulation(problem.spec.level_names, "sampled")
        joint = session.model(Build(problem, usual))
    largest = 0.0
    for point in density_points(problem, N_POINTS, seed=5):
        whole, conditional = joint.log_density(point), oracle.log_conditional(point)
        found = model.log_density(point)
        # What is subtracted may be far larger than what is left.
        size = max(1.0, abs(whole), abs(conditional))
        largest = max(largest, abs(found - (whole - conditional)) / size)
    expect(
        largest <= TOLERANCE["float64"],
        f"log p(y, scales) differs from log p(y, coefficients, scales) - log p(coefficients | y, scales) by "
        f"{largest:.1e}, relative to the largest of them",
    )
    return f"largest relative difference {largest:.0e}"


def _recovered(session: Session, sampler: str, target: Target) -> str:
    problem = target.problem()
    method: Any = session.subject.chain_method
    config = SamplerConfig(CHAINS, DRAWS, DRAWS, seed=SEED, chain_method=method)
    run = session.run(_marginal(problem, sampler), config)
    what = misshapen(problem, run)
    expect(what is None, str(what))
    oracle: Any = session.reference(problem, marginalized=True)
    found = check_recovery(problem, sampler, run.draws.values, oracle.whitened, session.level)
    if found is None:
        raise ConformanceFailure("hardly a draw has scales that are finite and greater than zero")
    expect(found.exact, found.message)
    return (
        f"{found.n_tests} numbers of {found.n_draws} draws: "
        f"a correlation of {found.detectable:.2f} would be found"
    )
