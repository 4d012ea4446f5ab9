"""The posterior tier: draws equal exact answers, within Monte Carlo error at a stated level."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from nestor.agreement.difference import difference_test
from nestor.conformance import targets
from nestor.conformance.answers import compare_with_answers, mixed, power
from nestor.conformance.check import Check, ConformanceFailure, NotOffered, Subject
from nestor.conformance.declaration import exclusions
from nestor.conformance.density import name_of, words_of
from nestor.conformance.drawing import misshapen
from nestor.conformance.session import Build
from nestor.engines import registry
from nestor.engines.clock import BOUND, SLACK_S
from nestor.engines.formulation import Formulation
from nestor.engines.protocol import SamplerConfig
from nestor.errors import EngineFailed
from nestor.runner.contract import check_draws
from nestor.stats.diagnostics import gates, summaries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nestor.conformance.session import Run, Session
    from nestor.conformance.targets import Target

#: Gates of mixing: what they ask is asked of every run here, with its exact answers.
_MIXING = ("rhat", "ess", "ebfmi")
#: Seconds of a run whose phases can be told from what is nobody's.
_LONG_ENOUGH_S = 1.0
#: Chance with which a prior that is too wide must be found.
POWER = 0.99
#: Chains, and (warmup, draws) that are tried in turn until the chains have mixed and the power suffices.
CHAINS, EFFORTS = 4, ((1000, 1000), (2000, 4000), (4000, 16000))
SEED = 20


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of posteriors."""
    yield from exclusions(subject, "posterior")
    independent = subject.backend.implementation != "reference"
    for sampler in subject.samplers:
        for target in targets.TARGETS:
            if target.family in subject.offers("families") and (
                target.answers is not None or independent
            ):
                yield from _of_target(subject, sampler, target)


def _of_target(subject: Subject, sampler: str, target: Target) -> Iterator[Check]:
    """Yield the checks of one target: each formulation, and once each other precision, method and device.

    Sampled and marginalized coefficients count as two engines: what one does everywhere, the other does.
    """
    plain: dict[str, Any] = {"method": subject.chain_method, "dtype": "float64", "device": "cpu"}
    for ways in _formulations(subject, target):
        for i, how in enumerate(ways):
            yield _check(sampler, target, how, plain, quick=i == 0)
        if not target.everywhere or not ways:
            continue
        yield from _of_run(sampler, target, ways[0], plain["method"])
        for method in subject.offers("chain_methods"):
            if method != subject.chain_method:
                yield _check(sampler, target, ways[0], plain | {"method": method}, quick=True)
        if "float32" in subject.offers("dtypes"):
            yield _check(sampler, target, ways[0], plain | {"dtype": "float32"}, quick=True)
        if "gpu" in subject.offers("devices") and "vectorized" in subject.offers("chain_methods"):
            there = {"device": "gpu", "method": "vectorized"}
            yield _check(sampler, target, ways[0], plain | there, quick=True)


def _of_run(sampler: str, target: Target, how: Formulation, method: Any) -> Iterator[Check]:
    """Yield the checks of a run of some length that are not about its posterior."""
    for name, run, quick in (
        ("draws_are_chains", _are_chains, True),
        ("phases_add_up_to_the_run", _phases, False),
    ):
        yield Check(
            "posterior",
            name,
            partial(run, sampler=sampler, target=target, how=how, method=method),
            f"{sampler}, {name_of(how)}",
            frozenset(
                {sampler, target.family, "sampling", *words_of(how), method, *target.features}
            ),
            quick=quick,
        )


def _formulations(subject: Subject, target: Target) -> Iterator[list[Formulation]]:
    """Yield the formulations of a target that sample coefficients, and the one that marginalizes them."""
    levels = target.levels
    if "sampled" in subject.coefficients:
        usual = subject.formulation(levels, "sampled")
        offered = subject.offers("centering")
        centering: list[Any] = [how for how in target.centering if how in offered]
        ways = [replace(usual, centering=(how,) * len(levels)) for how in centering]
        if target.every_likelihood:
            others = [word for word in subject.offers("likelihoods") if word != usual.likelihood]
            ways += [replace(ways[0], likelihood=word) for word in others if ways]  # type: ignore[arg-type]
        yield ways[:1] if target.one_way else ways
    if "marginalized" in subject.coefficients and target.marginalizes:
        yield [Formulation.marginalized(levels)]


def _check(
    sampler: str, target: Target, how: Formulation, choice: dict[str, Any], *, quick: bool
) -> Check:
    extra = [choice["method"]] + [choice[k] for k in ("dtype", "device")]
    shown = [word for word in extra if word not in ("float64", "cpu")]
    words = {sampler, target.family, "sampling", *words_of(how), *extra, *target.features}
    return Check(
        "posterior",
        "equals_the_exact_one",
        partial(_equals, sampler=sampler, target=target, how=how, choice=choice),
        ", ".join([sampler, target.name, name_of(how), *shown]),
        frozenset(words),
        quick=target.quick and quick and len(shown) == 1,
    )


def _equals(
    session: Session, sampler: str, target: Target, how: Formulation, choice: dict[str, Any]
) -> str:
    build = Build(target.problem(), how, sampler, choice["device"], choice["dtype"])
    draws, remark = _mixed_draws(session, build, choice["method"], target)
    if target.answers is not None:
        return compare_with_answers(draws, target.answers(), session.level) + remark
    return _compare_with_reference(session, build, draws)


def _mixed_draws(
    session: Session, build: Build, method: Any, target: Target
) -> tuple[NDArray[np.float64], str]:
    """Sample until the chains have mixed, and would show too wide a prior; give up after the last effort."""
    why: str | None = None
    for warmup, draws in EFFORTS:
        config = SamplerConfig(CHAINS, warmup, draws, seed=SEED, chain_method=method)
        # Runs that other checks look at too are kept.
        run = (session.run if target.everywhere else session.run_again)(build, config)
        if what := misshapen(build.problem, run):
            raise ConformanceFailure(what)
        values = build.problem.scalars.flatten(run.draws.values)[..., target.scalars()]
        found = summaries(values)
        why = mixed(found)
        if why is None:
            chances = {
                address: power(target.answers(), wrong, found, session.level)  # type: ignore[misc]
                for address, wrong in target.wider().items()
            }
            if min(chances.values(), default=1.0) >= POWER:
                return values, _wide_text(chances)
            why = f"power {min(chances.values()):.2g} to find a prior {targets.TOO_WIDE} times too wide"
        why += f" after {CHAINS} x {draws} draws"
    raise ConformanceFailure(f"the chains have not mixed, so that nothing can be shown: {why}")


def _wide_text(chances: Mapping[str, float]) -> str:
    """Say with what probability a prior that is too wide would have been found."""
    if not chances:
        return ""
    least = math.floor(1000 * min(0.999, *chances.values())) / 1000
    return (
        f"; a prior of {' or '.join(chances)} {targets.TOO_WIDE} times too wide would be found with a "
        f"probability of at least {least:g}"
    )


def _run(
    session: Session, sampler: str, target: Target, how: Formulation, method: Any, effort: int
) -> Run:
    """Return a run of a target, shared by the checks that look at more than its posterior."""
    warmup, draws = EFFORTS[effort]
    config = SamplerConfig(CHAINS, warmup, draws, seed=SEED, chain_method=method)
    run = session.run(Build(target.problem(), how, sampler), config)
    if what := misshapen(target.problem(), run):
        raise ConformanceFailure(what)
    return run


def _are_chains(
    session: Session, sampler: str, target: Target, how: Formulation, method: Any
) -> str:
    """Hold draws to the gates that ask whether they are chains at all, as the sampler left them."""
    run = _run(session, sampler, target, how, method, 0)
    scalars, stats = target.problem().scalars, run.draws.stats
    found = gates(
        scalars.flatten(run.draws.values),
        scalars.labels,
        scalars.is_node,
        energy=stats.get("energy"),
        diverging=stats.get("diverging"),
        is_scale=scalars.is_scale,
        lp=stats.get("lp"),
        step_size=stats.get("step_size"),
        settings=run.draws.settings,
    )
    said = [
        text for name, text in zip(found.failed, found.failures, strict=True) if name not in _MIXING
    ]
    if said:
        raise ConformanceFailure("; ".join(said))
    try:
        # One draw of thousands may leave the support of its prior.
        check_draws(target.problem(), run.draws, run.config.chains, run.config.draws)
    except EngineFailed as failure:
        raise ConformanceFailure(str(failure)) from failure
    if "energy" not in stats:
        return "order and step sizes: not checked, the sampler reports no energies"
    return "; ".join(note for note in found.notes if "not checked" in note)


def _phases(session: Session, sampler: str, target: Target, how: Formulation, method: Any) -> str:
    """Hold the seconds of all phases to the clock of the call, in a run that is long enough to tell."""
    for effort in range(len(EFFORTS)):
        run = _run(session, sampler, target, how, method, effort)
        if run.seconds >= _LONG_ENOUGH_S:
            break
    seconds = run.draws.timings.to_dict()
    together: Any = seconds["warmup_and_sampling"]
    if together is None and (seconds["warmup"] is None or seconds["sampling"] is None):
        raise NotOffered("optional: the sampler reports no seconds of warmup and sampling")
    walked = max(together or 0.0, (seconds["warmup"] or 0.0) + (seconds["sampling"] or 0.0))  # type: ignore[operator]
    rest: Any = [seconds[name] or 0.0 for name in ("compile", "postprocess", "transfer")]
    left = run.seconds - walked - sum(rest)
    shown = f"{run.seconds:.2f} s, of which no phase accounts for {max(0.0, left):.2f} s"
    if left > max(SLACK_S, BOUND * walked):
        raise ConformanceFailure(
            f"the run took {shown}: more than {BOUND:.0%} of the {walked:.2f} s of warmup and sampling"
        )
    return shown


def _compare_with_reference(session: Session, build: Build, draws: NDArray[np.float64]) -> str:
    """Compare with draws of the reference's exact sampler, which have a Monte Carlo error of their own."""
    problem = build.problem
    backend = registry.get("reference").backend
    model = backend.compile(
        problem, build.formulation, sampler="exact", device="cpu", dtype="float64"
    )
    config = SamplerConfig(CHAINS, 1000, 2000, seed=SEED + 1, chain_method="sequential")
    exact = problem.scalars.flatten(model.sample(config).values)
    found = difference_test(
        summaries(draws), summaries(exact), problem.scalars.labels, session.level
    )
    if found.rejected:
        texts = [f"{d.quantity} of {d.label} by {d.shift:.2f} sd" for d in found.rejected[:3]]
        raise ConformanceFailure(
            f"{len(found.rejected)} of {found.n_tests} numbers differ: {'; '.join(texts)}"
        )
    return f"{found.n_tests} numbers: a shift of a mean by {found.detectable_shift:.2f} sd would be found"
