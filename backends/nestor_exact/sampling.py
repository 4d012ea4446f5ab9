"""The sampler ``exact``: independent proposals for the scales, then coefficients drawn exactly given them.

Warmup finds a proposal for theta (`nestor_exact.modes`, `nestor_exact.adapt`), shared by all
chains, and measures on fresh points how well it fits. Each chain is then an independence chain of its own
random numbers (`nestor_exact.independence`), kept after so many proposals that its draws are nearly
independent, and each kept theta gets one joint draw of all coefficients (`nestor_exact.theta.Passes`). The
draws are from the posterior itself: the proposal decides how many proposals they cost, and nothing else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from nestor.engines.protocol import Draws, Progress, Timings
from nestor.engines.support import chains_at_once, run_chains, silent
from nestor.errors import Unsupported
from nestor_exact.adapt import PROPOSALS_PER_WARMUP, Adaptation, adapt
from nestor_exact.independence import (
    Fitness,
    proposals_per_draw,
    run_chain,
)
from nestor_exact.modes import laplace_mixture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.protocol import Phase, ProgressCallback, SamplerConfig
    from nestor.stats.arrays import FloatArray
    from nestor_exact.mixture import Mixture
    from nestor_exact.theta import Theta

    type Report = Callable[[Phase, int], None]

#: Fresh points on which a proposal is judged, whatever the warmup.
_PILOT = 8000
#: Proposals before a chain's first draw, half of which choose its start.
_LEAD = 1000
#: Parts into which a chain's work is cut for progress.
_PARTS = 20


@dataclass(frozen=True)
class Plan:
    """What the chains share once warmup is over.

    Parameters
    ----------
    theta : Theta
        The posterior of the scales.
    adaptation : Adaptation
        With the proposal.
    proposals_per_draw : int
        Chosen by the proposal's fresh points.
    """

    theta: Theta
    adaptation: Adaptation
    proposals_per_draw: int

    @property
    def proposal(self) -> Mixture:
        """Where all chains' proposals come from."""
        return self.adaptation.proposal


@dataclass(frozen=True)
class ChainDraws:
    """One chain's draws."""

    values: dict[str, FloatArray]
    log_posterior: FloatArray
    log_conditional: FloatArray
    log_jacobian: FloatArray
    acceptance: FloatArray
    log_weights: FloatArray
    sampling: float
    postprocess: float


def sample(
    problem: Problem,
    theta: Theta,
    config: SamplerConfig,
    on_progress: ProgressCallback | None,
    *,
    marginalized: bool,
) -> Draws:
    """Draw from the posterior; every random number comes from the seed.

    Parameters
    ----------
    problem : Problem
        Model and data.
    theta : Theta
        The posterior of its scales.
    config : SamplerConfig
        An iteration of warmup stands for 50 proposals of the adaptation, which all chains share and which
        ends early when there is nothing to gain; with too few for a round of adaptation the proposal is
        what the modes and their curvature say. One kept draw costs as many proposals as `settings` report.
    on_progress : callable or None
        Told of every chain.
    marginalized : bool
        Whether the statistic lp is the log density of theta, or of theta and the coefficients; the draws
        are the same.

    Raises
    ------
    Unsupported
        If a setting is asked for that only trajectories have.
    EngineFailed
        If the proposal does not fit the posterior well enough.
    """
    for name in ("target_accept", "max_tree_depth", "metric"):
        if getattr(config, name) is not None:
            raise Unsupported(f"the exact sampler has no {name}: it follows no trajectories.")
    tell = on_progress or silent
    # A chain's numbers depend on the seed and its place alone, not on how many chains there are.
    adapting, *streams = (
        np.random.default_rng(s)
        for s in np.random.SeedSequence(config.seed).spawn(1 + config.chains)
    )
    begin = time.perf_counter()
    plan = _prepare(theta, config, adapting, tell)
    middle = time.perf_counter()

    def work(chain: int, progress: ProgressCallback) -> ChainDraws:
        return _run(plan, streams[chain], config, _reporter(progress, config, (chain,)))

    chains = run_chains(work, config, tell, "the exact sampler")
    wall = time.perf_counter() - middle
    fitness = Fitness.of(np.concatenate([chain.log_weights for chain in chains]))
    sampling = sum(chain.sampling for chain in chains)
    share = sampling / (sampling + sum(chain.postprocess for chain in chains))
    timings = Timings(
        upload=0.0,
        compile=None,
        warmup=middle - begin,
        sampling=wall * share,
        postprocess=wall * (1 - share),
        sampling_per_chain=tuple(chain.sampling for chain in chains),
    )
    return Draws(
        _stacked(problem, [chain.values for chain in chains]),
        _stats(plan, chains, marginalized=marginalized),
        timings,
        _settings(plan, config, fitness, chains),
    )


def _prepare(
    theta: Theta, config: SamplerConfig, rng: np.random.Generator, tell: ProgressCallback
) -> Plan:
    report = _reporter(tell, config, range(config.chains))
    report("warmup", 0)
    centred, first = laplace_mixture(theta, rng)
    adaptation = adapt(
        centred,
        first,
        config.warmup * PROPOSALS_PER_WARMUP,
        rng,
        lambda done: report("warmup", done // PROPOSALS_PER_WARMUP),
    )
    x = adaptation.proposal.rvs(rng, _PILOT)
    log_weights = centred.log_posterior(x) - adaptation.proposal.logpdf(x)
    Fitness.of(log_weights)
    plan = Plan(centred, adaptation, proposals_per_draw(log_weights))
    report("warmup", config.warmup)
    return plan


def _run(plan: Plan, rng: np.random.Generator, config: SamplerConfig, report: Report) -> ChainDraws:
    begin = time.perf_counter()
    s, theta = plan.proposals_per_draw, plan.theta
    x = plan.proposal.rvs(rng, _LEAD + s * config.draws)
    log_posterior, log_jacobian = np.empty(len(x)), np.empty(len(x))
    for part in _parts(len(x), _PARTS):
        found = theta.evaluate(x[part])
        log_posterior[part], log_jacobian[part] = found.log_posterior, found.log_jacobian
        done = max(0, part.stop - _LEAD) // s
        report("sampling", config.warmup + done)
    log_weights = log_posterior - plan.proposal.logpdf(x)
    chain = run_chain(log_weights, s, _LEAD, rng)
    middle = time.perf_counter()
    kept = chain.kept
    values, coefficients = _coefficients(theta, x[kept], rng)
    report("postprocess", config.warmup + config.draws)
    return ChainDraws(
        values=values,
        log_posterior=log_posterior[kept],
        log_conditional=coefficients,
        log_jacobian=log_jacobian[kept],
        acceptance=chain.acceptance,
        log_weights=log_weights,
        sampling=middle - begin,
        postprocess=time.perf_counter() - middle,
    )


def _coefficients(
    theta: Theta, x: FloatArray, rng: np.random.Generator
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Return scales and one joint draw of the coefficients for each theta, and the draw's log density."""
    parts, densities = [], []
    passing = theta.passing
    for begin in range(0, len(x), passing.batch):
        scales = theta.scales(x[begin : begin + passing.batch])
        down = passing.down(passing.up(scales), rng.standard_normal)
        parts.append(scales | down.values)
        densities.append(down.log_density)
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return values, np.concatenate(densities)


def _parts(n: int, count: int) -> list[slice]:
    edges = np.linspace(0, n, min(n, count) + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def _reporter(tell: ProgressCallback, config: SamplerConfig, chains: Sequence[int]) -> Report:
    total = config.warmup + config.draws

    def report(phase: Phase, done: int) -> None:
        for chain in chains:
            tell(Progress(chain, phase, done, total, 0))

    return report


def _stacked(problem: Problem, chains: Sequence[dict[str, FloatArray]]) -> dict[str, FloatArray]:
    # A sigma whose value is known is none of the variables.
    return {
        name: np.ascontiguousarray(np.stack([chain[name] for chain in chains]))
        for name in problem.variables
    }


def _stats(
    plan: Plan, chains: Sequence[ChainDraws], *, marginalized: bool
) -> dict[str, NDArray[np.generic]]:
    """Statistics of each draw; coefficients are drawn as they are, so that log_jacobian is theta's."""
    lp = np.stack([chain.log_posterior for chain in chains])
    if not marginalized:
        lp = lp + np.stack([chain.log_conditional for chain in chains])
    shape = lp.shape
    return {
        "lp": lp,
        "log_jacobian": np.stack([chain.log_jacobian for chain in chains]),
        "acceptance_rate": np.stack([chain.acceptance for chain in chains]),
        "diverging": np.zeros(shape, dtype=np.bool_),
        "n_steps": np.full(shape, plan.proposals_per_draw, dtype=np.int64),
    }


def _settings(
    plan: Plan, config: SamplerConfig, fitness: Fitness, chains: Sequence[ChainDraws]
) -> dict[str, object]:
    return {
        "sampler": "exact",
        "method": "independence Metropolis-Hastings for the scales, exact draws of the coefficients",
        "proposal": "mixture of multivariate Student-t, fixed after warmup",
        "proposal_dimension": len(plan.theta),
        "proposal_components": len(plan.proposal),
        "adaptation_rounds": plan.adaptation.rounds,
        "adaptation_evaluations": plan.adaptation.evaluations,
        "pilot_evaluations": _PILOT,
        "proposals_before_first_draw": _LEAD,
        "proposals_per_draw": plan.proposals_per_draw,
        "acceptance_rate": float(np.mean([chain.acceptance for chain in chains])),
        "effective_share_of_weights": fitness.effective_share,
        "pareto_k": fitness.pareto_k,
        "largest_weight": fitness.largest_weight,
        "chain_method": config.chain_method,
        "cores": chains_at_once(config) if config.chain_method == "parallel" else None,
    }
