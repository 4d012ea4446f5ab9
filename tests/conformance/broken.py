"""Backends with one planted fault each, and the checks that must find it.

They refuse and evaluate as the example plug-in does. What they sample is no posterior, but it costs nothing
and is a run like any other: seeds, chains, options, progress and refusals are all honoured.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nestor.backend import Capabilities, Draws, Progress, Timings
from nestor.engines.protocol import Missing as Lacking
from nestor.errors import Unsupported

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures" / "plugin" / "src"))

from nestor_toy import ToyBackend

sys.path.pop(0)

SHAPES = "draws_have_every_variable_with_its_shape"
DEFERRED = "deferred_draws_are_those_in_memory"


class Model:
    """The plug-in's density and a sampler of independent numbers, with room for a fault."""

    def __init__(self, inner: Any, problem: Any, sampler: str | None) -> None:
        self.inner, self.problem, self.sampler = inner, problem, sampler

    def log_density(self, point):
        return self.inner.log_density(point)

    def sample(self, config, on_progress=None):
        if self.sampler is None:
            raise Unsupported("this model is for densities only")
        if config.chain_method != "sequential":
            raise Unsupported(f"chains run sequentially, not {config.chain_method}")
        if config.max_tree_depth is not None:
            raise Unsupported("max_tree_depth: there are no trees")
        if config.metric is not None:
            raise Unsupported("metric: there is none")
        return self.faulty(_numbers(self.problem, config, on_progress or (lambda _: None)))

    def faulty(self, draws):
        return draws


def _numbers(problem, config, tell):
    """Numbers inside every support that depend on the seed, the chain and the options."""
    accept = 0.5 if config.target_accept is None else config.target_accept
    lead, total = (config.chains, config.draws), config.warmup + config.draws
    rng = np.random.default_rng([config.seed, round(1000 * accept), config.warmup])
    values = {}
    for name, variable in problem.variables.items():
        normal = rng.standard_normal((*lead, *variable.shape))
        values[name] = np.exp(normal) if variable.role in ("scale", "family") else normal
    for chain in range(config.chains):
        for done, phase in ((0, "warmup"), (config.warmup, "warmup"), (total, "sampling")):
            tell(Progress(chain, phase, done, total, 0))
    stats = {"lp": rng.standard_normal(lead), "diverging": np.zeros(lead, bool)}
    settings = {"target_accept": accept, "chain_method": "sequential", "metric": "none"}
    return Draws(problem.with_inherited(values), stats, Timings(sampling=0.0), settings)


def backend(model: type[Model] = Model, **attributes: Any) -> Any:
    """An instance of the plug-in's backend with another model and other attributes."""

    class Broken(ToyBackend):
        def versions(self):
            return {"toy": "0"}

        def compile(self, problem, formulation, *, sampler, device, dtype):
            inner = super().compile(
                problem, formulation, sampler=sampler, device=device, dtype=dtype
            )
            return model(inner, problem, sampler)

    for name, value in attributes.items():
        setattr(Broken, name, value)
    return Broken()


class IgnoresTheSeed(Model):
    def sample(self, config, on_progress=None):
        return super().sample(replace(config, seed=0), on_progress)


class NeverTheSame(Model):
    count = 0

    def sample(self, config, on_progress=None):
        NeverTheSame.count += 1
        return super().sample(replace(config, seed=config.seed + 1000 * self.count), on_progress)


class SameChains(Model):
    def faulty(self, draws):
        same = {n: np.repeat(a[:1], len(a), axis=0) for n, a in draws.values.items()}
        return replace(draws, values=same)


class SwappedAxes(Model):
    def faulty(self, draws):
        return replace(
            draws, values={n: np.swapaxes(a, 0, 1).copy() for n, a in draws.values.items()}
        )


class SinglePrecision(Model):
    def faulty(self, draws):
        return replace(draws, values={n: a.astype(np.float32) for n, a in draws.values.items()})


class Unfilled(Model):
    def faulty(self, draws):
        random = {n: v.random for n, v in self.problem.variables.items()}
        return replace(
            draws, values={n: np.where(random[n], a, 0.0) for n, a in draws.values.items()}
        )


class Missing(Model):
    def faulty(self, draws):
        return replace(draws, values={n: a for n, a in draws.values.items() if n != "gamma"})


class NotFinite(Model):
    def faulty(self, draws):
        draws.values["beta"][0, 3, 0] = np.nan
        return draws


class OtherName(Model):
    def faulty(self, draws):
        return replace(draws, stats={**draws.stats, "divergent": np.zeros((2, 60), bool)})


class ModifiesItsInput(Model):
    def log_density(self, point):
        for name, array in self.problem.with_inherited(point).items():
            point[name][...] = array
        return self.inner.log_density(point)


class ReadsInherited(Model):
    def log_density(self, point):
        return self.inner.log_density(point) - 0.01 * float(np.sum(point["beta_k2"]))


class OffByAConstant(Model):
    def log_density(self, point):
        return self.inner.log_density(point) + 0.9189385


class SdAsVariance(Model):
    def log_density(self, point):
        wrong = dict(point)
        for level in self.problem.levels:
            if len(level.varying):
                name = f"tau_{level.name}"
                wrong[name] = np.sqrt(np.maximum(point[name], 0.0))
        return self.inner.log_density(wrong)


class NumPyScalar(Model):
    def log_density(self, point):
        return np.float64(self.inner.log_density(point))


class Talks(Model):
    def sample(self, config, on_progress=None):
        print("sampling ...")
        return super().sample(config, on_progress)


class BeyondTheTotal(Model):
    def sample(self, config, on_progress=None):
        draws = super().sample(config, on_progress)
        total = config.warmup + config.draws
        if on_progress is not None:
            on_progress(Progress(0, "sampling", total + 1, total, 0))
        return draws


class DeafCallback(Model):
    def sample(self, config, on_progress=None):
        def quiet(report):
            try:
                on_progress(report)
            except Exception:  # noqa: BLE001 - the fault itself
                return

        return super().sample(config, None if on_progress is None else quiet)


class KeywordArguments(Model):
    def sample(self, config, on_progress=None, **options):
        return super().sample(config, on_progress)


class RecordsOnly(Model):
    """Writes the target acceptance rate into the settings, and samples with the default."""

    def sample(self, config, on_progress=None):
        draws = super().sample(replace(config, target_accept=None), on_progress)
        wanted = config.target_accept or draws.settings["target_accept"]
        return replace(draws, settings={**draws.settings, "target_accept": wanted})


class NoWarmup(Model):
    """Says that it warms up as long as it was asked to, and draws what it always draws."""

    def sample(self, config, on_progress=None):
        draws = super().sample(replace(config, warmup=100), None)
        _numbers(self.problem, config, on_progress or (lambda _: None))
        return replace(draws, settings={**draws.settings, "warmup": config.warmup})


class MetricInWords(Model):
    """Writes the metric into the settings, and samples with its own."""

    def sample(self, config, on_progress=None):
        draws = super().sample(replace(config, metric=None), on_progress)
        found = "gradients" if config.metric is None else "draws"
        return replace(draws, settings={**draws.settings, "metric_estimate": found})


class MetricIgnored(Model):
    def sample(self, config, on_progress=None):
        return super().sample(replace(config, metric=None), on_progress)


class Unprepared(Model):
    """Compiles in sample whatever it did in prepare."""

    upload_seconds = 0.0

    def prepare(self, config):
        pass

    def sample(self, config, on_progress=None):
        draws = super().sample(config, on_progress)
        return replace(draws, timings=replace(draws.timings, compile=1.0))


class Defers(Model):
    """Draws of the coefficients of k1 come block by block, with room for a fault."""

    def with_lazy_draws(self):
        return _Deferring(self)

    def parts(self, array):
        """Chain, first draw and draws of each block."""
        return [
            (chain, first, array[chain, first : first + 25])
            for chain in range(len(array))
            for first in range(0, array.shape[1], 25)
        ]


class _Deferring(Model):
    def __init__(self, whole):
        super().__init__(whole.inner, whole.problem, whole.sampler)
        self.whole = whole

    def sample(self, config, on_progress=None):
        draws = self.whole.sample(config, on_progress)
        values = {**draws.values}
        made = _Made(values.pop("beta_k1"), self.whole.parts)
        return replace(draws, values=values, deferred=made)


class _Made:
    def __init__(self, array, parts):
        self.array, self.parts = array, parts
        self.shapes = {"beta_k1": array.shape}

    def blocks(self):
        for chain, first, draws in self.parts(self.array):
            yield chain, first, {"beta_k1": draws}

    def load(self):
        return {"beta_k1": self.array}


class DefersNothingTogether(Defers):
    """Has nothing to give where all is wanted at once."""

    def with_lazy_draws(self):
        found = super().with_lazy_draws()
        sample = found.sample

        def empty(*arguments):
            draws = sample(*arguments)
            draws.deferred.load = dict
            return draws

        found.sample = empty
        return found


class DefersOthers(Defers):
    def parts(self, array):
        return super().parts(array + 1e-12)


class DefersTooFew(Defers):
    def parts(self, array):
        return super().parts(array)[:-1]


class DefersTwice(Defers):
    def parts(self, array):
        return super().parts(array) * 2


class DefersAnew(Defers):
    """Makes other numbers the second time."""

    times = 0

    def parts(self, array):
        self.times += 1
        return super().parts(array if self.times == 1 else -array)


class WrongGradient(Model):
    """A density of two scalars, one of whose slopes has the wrong sign."""

    dimension = 2
    start = np.array([0.3, -0.2])

    def target_density(self):
        return self

    def value_and_gradient(self, z):
        return float(-0.5 * np.sum(z**2)), -z * [1.0, -1.0]


class Crashes(Model):
    def sample(self, config, on_progress=None):
        raise ZeroDivisionError("the sampler divided by zero")


class SamplesAnyhow(Model):
    """Runs another chain method than the one that was asked for."""

    def sample(self, config, on_progress=None):
        return super().sample(replace(config, chain_method="sequential"), on_progress)


def _refuses_nothing(self, problem, formulation, *, sampler, device, dtype):
    from nestor_toy.compiled import ToyModel

    return Model(ToyModel(self, problem, formulation, "metropolis"), problem, "metropolis")


def _no_reasons(self):
    found = ToyBackend.capabilities(self)
    return Capabilities(
        **{
            **vars(found),
            "reasons": {
                Lacking(option="max_tree_depth"): "never",
                Lacking(option="metric"): "never",
                Lacking(resuming=True): "never",
            },
        }
    )


def _wrong_kind(self):
    found = ToyBackend.capabilities(self)
    return Capabilities(
        **{**vars(found), "reasons": {**found.reasons, Lacking(device="gpu"): "no idea"}}
    )


def _refuses_what_it_offers(self, problem, formulation, *, sampler, device, dtype):
    if problem.weights is not None:
        raise Unsupported("weights are not implemented")
    return ToyBackend.compile(
        self, problem, formulation, sampler=sampler, device=device, dtype=dtype
    )


#: Name, backend, and the names of the checks that fail: these and no others.
FAULTS: dict[str, tuple[Any, set[str]]] = {
    "ignores the seed": (backend(IgnoresTheSeed), {"another_seed_gives_other_draws"}),
    "never the same": (backend(NeverTheSame), {"the_same_seed_gives_the_same_draws"}),
    "same chains": (
        backend(SameChains),
        {"chains_differ_from_each_other", "every_chain_method_runs"},
    ),
    "swapped axes": (backend(SwappedAxes), {SHAPES}),
    "single precision": (
        backend(SinglePrecision),
        {"draws_are_float64_arrays_on_the_host"},
    ),
    "inherited entries unfilled": (
        backend(Unfilled),
        {"inherited_and_fixed_entries_are_filled_in"},
    ),
    "missing variable": (backend(Missing), {SHAPES}),
    "draws that are not finite": (
        backend(NotFinite),
        {"draws_are_finite_and_inside_the_support"},
    ),
    "another name": (backend(OtherName), {"statistics_have_the_names_and_shapes_of_arviz"}),
    "modifies its input": (backend(ModifiesItsInput), {"log_density_leaves_its_point_alone"}),
    "reads inherited entries": (
        backend(ReadsInherited),
        {"log_density_ignores_inherited_and_fixed_entries"},
    ),
    "no python float": (backend(NumPyScalar), {"log_density_is_a_python_float"}),
    "prints": (backend(Talks), {"it_prints_nothing"}),
    "progress beyond the total": (
        backend(BeyondTheTotal),
        {"progress_rises_to_the_total_for_every_chain"},
    ),
    "deaf to its callback": (
        backend(DeafCallback),
        {"what_a_callback_raises_ends_the_run"},
    ),
    "keyword arguments": (backend(KeywordArguments), {"signatures_are_the_protocols"}),
    "records only": (backend(RecordsOnly), {"target_accept_is_honoured"}),
    "no warmup": (backend(NoWarmup), {"warmup_is_honoured"}),
    "a metric in words": (backend(MetricInWords), {"metric_is_honoured"}),
    "deaf to its metric": (backend(MetricIgnored), {"metric_is_honoured"}),
    "prepared in vain": (backend(Unprepared), {"preparing_leaves_nothing_to_compile"}),
    "a wrong gradient": (backend(WrongGradient), {"the_sampled_gradient_is_the_densitys"}),
    "defers, and has nothing together": (backend(DefersNothingTogether), {DEFERRED}),
    "defers other numbers": (backend(DefersOthers), {DEFERRED}),
    "loses draws that it defers": (backend(DefersTooFew), {DEFERRED}),
    "defers draws twice": (backend(DefersTwice), {DEFERRED}),
    "defers other numbers each time": (backend(DefersAnew), {DEFERRED}),
    "samples anyhow": (backend(SamplesAnyhow), {"refuses"}),
    "refuses nothing": (backend(compile=_refuses_nothing), {"refuses"}),
    "no reasons": (backend(capabilities=_no_reasons), {"every_exclusion_has_a_reason"}),
    "a reason of no kind": (backend(capabilities=_wrong_kind), {"reasons_are_of_a_known_kind"}),
    "no versions": (backend(versions=lambda self: {}), {"versions_are_named"}),
    "a name that no contender can have": (
        backend(samplers=("random walk",)),
        {"has_the_attributes_of_a_backend"},
    ),
}
DENSITY_FAULTS: dict[str, tuple[Any, set[str]]] = {
    "off by a constant": (backend(OffByAConstant), {"equals_the_reference"}),
    "sd as variance": (backend(SdAsVariance), {"equals_the_reference"}),
    "refuses what it offers": (
        backend(compile=_refuses_what_it_offers),
        {"equals_the_reference"},
    ),
}


def _draws(**changes: Any) -> type[Model]:
    """A model whose draws have other fields: each value, or a function of the draws that returns it."""

    class Garbled(Model):
        def faulty(self, draws):
            made = {name: new(draws) if callable(new) else new for name, new in changes.items()}
            return replace(draws, **made)

    return Garbled


def _values(change) -> type[Model]:
    return _draws(values=lambda draws: {name: change(a) for name, a in draws.values.items()})


def _stats(change) -> type[Model]:
    return _draws(stats=lambda draws: change({**draws.stats}))


def _nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"deeper": found}
    return found


class UnspeakableError(Exception):
    def __str__(self):
        raise ValueError("no words for it")


class Raises(Model):
    """Ends in something that is no ordinary error."""

    error: BaseException = SystemExit(0)

    def sample(self, config, on_progress=None):
        raise self.error


class RaisesTheUnspeakable(Raises):
    error = UnspeakableError()


class RaisesSurrogates(Raises):
    error = ValueError("\udcff \x1b[31mred[/bold]" + "x" * 10**6)


class ReturnsNothing(Model):
    def sample(self, config, on_progress=None):
        return None


class ReportsGarbage(Model):
    def sample(self, config, on_progress=None):
        for report in (None, "half", Progress("a", "b", "c", None, [])):
            if on_progress is not None:
                on_progress(report)
        return super().sample(config, on_progress)


class DensityOfText(Model):
    def log_density(self, point):
        return "minus infinity"


class DensityOfArrays(Model):
    def log_density(self, point):
        return np.full((2, 2), 1j)


def _raises(self, *arguments, **options):
    raise RuntimeError("\udcff not today")


#: Engines that return garbage: a bad row for each, and never an error of the kit.
GARBAGE: dict[str, Any] = {
    "complex values": backend(_values(lambda a: a + 0j)),
    "values of text": backend(_values(lambda a: a.astype(str))),
    "values of dates": backend(_values(lambda a: np.full(a.shape, np.datetime64("2026-01-01")))),
    "values of objects": backend(_values(lambda a: np.full(a.shape, None))),
    "values in lists": backend(_values(lambda a: a.tolist())),
    "values that are no mapping": backend(_draws(values=[1, 2])),
    "statistics as (draw, chain)": backend(_stats(lambda s: {n: a.T for n, a in s.items()})),
    "statistics in 3 dimensions": backend(
        _stats(lambda s: {n: a[..., None] for n, a in s.items()})
    ),
    "a scalar statistic": backend(_stats(lambda s: s | {"energy": 1.0})),
    "a statistic one draw short": backend(_stats(lambda s: s | {"energy": s["lp"][:, 1:]})),
    "a statistic named a/b": backend(_stats(lambda s: s | {"a/b": s["lp"]})),
    "a statistic named chain": backend(_stats(lambda s: s | {"chain": s["lp"]})),
    "a statistic without a name": backend(_stats(lambda s: s | {None: s["lp"]})),
    "statistics of text": backend(_stats(lambda s: s | {"tree_depth": s["lp"].astype(str)})),
    "statistics that are a number": backend(_draws(stats=7)),
    "timings of text": backend(_draws(timings=Timings(sampling="fast"))),
    "timings of lists": backend(_draws(timings=Timings(warmup_per_chain=[[1], None]))),
    "no timings": backend(_draws(timings=None)),
    "settings a thousand deep": backend(_draws(settings=_nested(1000))),
    "settings of a thousand levels beside the right ones": backend(
        _draws(settings=lambda draws: {**draws.settings, "more": _nested(1000)})
    ),
    "settings that are a list": backend(_draws(settings=[1])),
    "memory beyond 64 bits": backend(_draws(device_peak_bytes=2**70)),
    "deferred draws that are text": backend(_draws(deferred="later")),
    "no draws": backend(ReturnsNothing),
    "an exit": backend(Raises),
    "an error without words": backend(RaisesTheUnspeakable),
    "an error of surrogates and markup": backend(RaisesSurrogates),
    "progress of nothing": backend(ReportsGarbage),
    "a density of text": backend(DensityOfText),
    "a density of arrays": backend(DensityOfArrays),
    "a model that is a number": backend(compile=lambda self, *a, **b: 7),
    "compiling raises": backend(compile=_raises),
    "versions raise": backend(versions=_raises),
    "versions of numbers": backend(versions=lambda self: {"toy": 1}),
    "versions of nothing": backend(versions=lambda self: None),
    "versions of a list": backend(versions=lambda self: ["1"]),
    "capabilities raise": backend(capabilities=_raises),
    "capabilities of nothing": backend(capabilities=lambda self: None),
    "capabilities of lists": backend(
        capabilities=lambda self: Capabilities([["gaussian"]], {}, "cpu", None, 3, ["why"])
    ),
    "reasons of numbers": backend(
        capabilities=lambda self: replace(ToyBackend.capabilities(self), reasons={"gpu": 7})
    ),
    "capabilities of numbers": backend(
        capabilities=lambda self: Capabilities(*[frozenset({1, None})] * 5, {1: 2})
    ),
    "samplers of nothing": backend(samplers=None),
    "samplers of numbers": backend(samplers=(1, ["a"])),
    "a name that is a number": backend(name=3),
    "expected failures of a list": backend(expected_failures=[1]),
}
