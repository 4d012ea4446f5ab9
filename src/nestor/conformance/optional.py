"""Optional parts of the protocol, where a backend offers them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nestor.agreement.density import density_points
from nestor.agreement.sampled_density import check_sampled_density
from nestor.conformance.check import (
    Check,
    ConformanceFailure,
    Engine,
    NotOffered,
    Subject,
    expect,
    for_samplers,
)
from nestor.conformance.drawing import build, config, misshapen, well_formed
from nestor.conformance.problems import contract
from nestor.conformance.session import Run
from nestor.engines.protocol import (
    Differentiable,
    Preparable,
    Resumable,
    Reusable,
    SupportsLazyDraws,
)
from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from nestor.conformance.session import Session
    from nestor.engines.optional import LazyDraws
    from nestor.engines.protocol import Draws

    type Arrays = Mapping[str, NDArray[np.float64]]


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of optional parts."""
    name = "lp_less_its_log_jacobian_is_the_references_density"
    yield from for_samplers(subject, {name: _log_jacobian}, every=True)
    yield from for_samplers(subject, {"chains_go_on_from_where_they_stand": _looks}, "extend")
    yield from for_samplers(subject, {"another_outcome_needs_no_other_compilation": _with_outcome})
    yield from for_samplers(subject, {"preparing_leaves_nothing_to_compile": _prepare})
    gradient = {"the_sampled_gradient_is_the_densitys": _gradient}
    yield from for_samplers(subject, gradient, every=True)
    yield from for_samplers(
        subject, {"deferred_draws_are_those_in_memory": _lazy_draws}, every=True
    )


def _log_jacobian(session: Session, engine: Engine) -> str:
    draws = well_formed(session, engine).draws
    marginalized = engine.coefficients == "marginalized"
    reference = session.reference(contract(), marginalized=marginalized)
    found = check_sampled_density(
        contract(),
        engine.sampler,
        "float64",
        draws.values,
        draws.stats,
        reference.log_density,
        marginalized=marginalized,
    )
    if found is None:
        raise NotOffered("optional: the sampler does not report both lp and log_jacobian")
    expect(found.same, f"it is off by {found.largest:.1e}, relative to at least 1")
    return f"largest relative difference {found.largest:.0e}"


def _looks(session: Session, engine: Engine) -> None:
    model = session.model(build(session, engine))
    if not isinstance(model, Resumable):
        raise Unsupported("the compiled model has no sample_until")
    well_formed(session, engine)
    # Chains that all go on must all be running: side by side, where the backend can.
    methods = session.subject.offers("chain_methods")
    method = "parallel" if "parallel" in methods else session.subject.chain_method
    base = config(session, chain_method=method)
    whole = session.run(build(session, engine), base)
    looks = (base.draws, 2 * base.draws, 2 * base.draws + 10)
    stretches = list(model.sample_until(base, looks))
    expect(len(stretches) == len(looks), f"{len(stretches)} looks came of {len(looks)}")
    for before, after, draws in zip((0, *looks), looks, stretches, strict=False):
        what = misshapen(contract(), _as_run(whole, draws, after - before))
        expect(what is None, f"the stretch from {before} to {after} draws: {what}")
    _same(whole.draws, stretches[0], "the first look differs from sample() with the same config")
    expect(
        not np.array_equal(stretches[0].values["beta"], stretches[1].values["beta"]),
        "the second look repeats the draws of the first",
    )
    with closing(model.sample_until(base, looks[:2])) as again:  # type: ignore[type-var]
        _same(stretches[0], next(again), "the draws of the first look depend on the looks to come")


def _as_run(run: Run, draws: Draws, count: int) -> Run:
    return Run(replace(run.config, draws=count), draws, (), run.seconds)


def _same(a: Draws, b: Draws, otherwise: str) -> None:
    for name, array in a.values.items():
        expect(np.array_equal(array, b.values[name]), f"{otherwise} ({name})")


def _with_outcome(session: Session, engine: Engine) -> None:
    model, problem = session.model(build(session, engine)), contract()
    if not isinstance(model, Reusable):
        raise NotOffered("optional: the compiled model has no with_outcome")
    before = well_formed(session, engine)
    other = problem.with_outcome(problem.y[::-1] * 1.5 - 0.3)
    changed = model.with_outcome(other.y)
    old, new = (
        session.reference(one, marginalized=engine.coefficients == "marginalized")
        for one in (problem, other)
    )
    for point in density_points(problem, 6, seed=5):
        _close(changed.log_density(point), new.log_density(point), "the new outcome's density")
        _close(model.log_density(point), old.log_density(point), "the first model's density, after")
    again = model.sample(before.config)
    _same(before.draws, again, "with_outcome changes the draws of the model that it was called on")
    moved = changed.sample(before.config)
    if np.array_equal(moved.values["beta"], again.values["beta"]):
        raise ConformanceFailure("the model for another outcome has the draws of the first one")


def _prepare(session: Session, engine: Engine) -> None:
    model = session.compile(build(session, engine))
    if not isinstance(model, Preparable):
        raise NotOffered("optional: the compiled model has no prepare")
    usual = well_formed(session, engine)
    model.prepare(usual.config)
    draws = model.sample(usual.config)
    compiling = draws.timings.compile
    expect(not compiling, f"{compiling} s of compiling, though it was prepared")
    _same(usual.draws, draws, "a prepared model has other draws")


def _gradient(session: Session, engine: Engine) -> None:
    """Compare with central differences: with step h they err by about eps |f| / h and h^2 of f's slopes."""
    model = session.model(build(session, engine))
    if not isinstance(model, Differentiable):
        raise NotOffered("optional: the compiled model has no sampled_density")
    density = model.target_density()
    start = np.asarray(density.start)
    expect(start.shape == (density.dimension,), f"start has shape {start.shape}")
    value, gradient = density.value_and_gradient(start)
    expect(np.isfinite(value) and np.isfinite(gradient).all(), "it is not finite at its start")
    step = np.finfo(np.float64).eps ** (1 / 3)
    size = max(1.0, abs(value), float(np.abs(gradient).max()))
    tolerance = 100 * (np.finfo(np.float64).eps / step + step**2) * size
    for i in range(density.dimension):
        moved = step * (np.arange(density.dimension) == i)
        ends = [density.value_and_gradient(start + sign * moved)[0] for sign in (1.0, -1.0)]
        slope = (ends[0] - ends[1]) / (2 * step)
        expect(
            abs(slope - gradient[i]) <= tolerance,
            f"entry {i} of the gradient is {gradient[i]!r}; the density's slope is {slope!r}",
        )


def _close(found: float, wanted: float, what: str) -> None:
    expect(
        abs(found - wanted) <= 1e-8 * max(1.0, abs(wanted)),
        f"{what} is {found!r}; the reference's is {wanted!r}",
    )


def _lazy_draws(session: Session, engine: Engine) -> str:
    model = session.model(build(session, engine))
    if not isinstance(model, SupportsLazyDraws):
        raise NotOffered("optional: the compiled model has no with_lazy_draws")
    usual = well_formed(session, engine)
    draws = model.with_lazy_draws().sample(usual.config)
    deferred = draws.deferred
    if deferred is None:
        _same_arrays(
            usual.draws.values, draws.values, "draws of which nothing is deferred are others"
        )
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
    _same_arrays(usual.draws.values, {**draws.values, **first}, "deferred draws are others")
    _same_arrays(first, _put_together(deferred, lead), "making them again gives others")
    _same_arrays(first, deferred.load(), "load() gives others than the blocks")
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


def _same_arrays(wanted: Arrays, found: Arrays, otherwise: str) -> None:
    expect(set(found) == set(wanted), f"{otherwise} ({', '.join(set(found) ^ set(wanted))})")
    for name, array in found.items():
        expect(np.array_equal(array, wanted[name]), f"{otherwise} ({name})")
