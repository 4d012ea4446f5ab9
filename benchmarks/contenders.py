"""Who is timed: every way in which an installed backend may run, asked for by the usual spelling.

The list is made from what backends announce, so that a new one is timed without a change here. It has
what a backend lacks as well: that is skipped, with the backend's own reason.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from trees import LEVELS, make_problem

from nestor.backend import ChainMethod, Device, Differentiable, DType, Preparable
from nestor.engines import registry
from nestor.engines.contender import Contender
from nestor.engines.formulation import Centering, Formulation
from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nestor.backend import Capabilities, CompiledModel, SamplerConfig, TargetDensity

#: Every way of centring with every likelihood, as `Formulation.words` spells them, and marginalized.
FORMULATIONS: tuple[str, ...] = (
    *get_args(Centering),
    *(f"{how},statistics" for how in get_args(Centering)),
    "marginalized",
)
DTYPES: tuple[DType, ...] = get_args(DType)
METHODS: tuple[ChainMethod, ...] = get_args(ChainMethod)
#: The chain method that goes without saying, and that of a density, which has no chains.
NO_METHOD: ChainMethod = "parallel"
_KEPT: dict[tuple[Contender, str], CompiledModel] = {}


def names(
    devices: Sequence[Device], *, samplers: bool = True, dtypes: Sequence[DType] = DTYPES
) -> list[str]:
    """Spell every contender: engine, formulation, precision and device.

    Parameters
    ----------
    devices : sequence of {"cpu", "gpu"}
        Where.
    samplers : bool
        One for each sampler; or else one for each backend, whose density no sampler changes.
    dtypes : sequence of {"float64", "float32"}
        In which precision.
    """
    found = []
    for engine, how, dtype, device in itertools.product(
        _engines(samplers=samplers), FORMULATIONS, dtypes, devices
    ):
        method = _method(engine.partition(":")[0], device) if samplers else NO_METHOD
        found.append(_spell(engine, how, dtype, device, method))
    return found


def vectorized(devices: Sequence[Device]) -> list[str]:
    """Spell the contenders that run all chains in one program, non-centred by rows or marginalized."""
    return [
        _spell(engine, how, dtype, device, "vectorized")
        for engine, how, dtype, device in itertools.product(
            _engines(samplers=True), ("noncentered", "marginalized"), DTYPES, devices
        )
    ]


def _engines(*, samplers: bool) -> Iterator[str]:
    for name, entry in registry.backends().items():
        if not samplers:
            yield name
        else:
            yield from (f"{name}:{sampler}" for sampler in entry.backend.samplers)


def _spell(engine: str, how: str, *choices: str) -> str:
    """Write a contender as `Contender.name` does: what is usual is left out."""
    usual = ("float64", "cpu", NO_METHOD)
    return f"{engine}@{','.join([how, *(word for word in choices if word not in usual)])}"


def _method(name: str, device: Device) -> str:
    """Return the chain method that is timed: on a CPU one chain after another, so that one core does it.

    Parallel chains may also fork this process, in which other engines have started threads.
    """
    can = registry.backends()[name].backend.capabilities()
    wanted = "vectorized" if device == "gpu" else "sequential"
    if wanted in can.chain_methods or device not in can.devices:
        return wanted
    return next((method for method in METHODS if method in can.chain_methods), wanted)


def parse(name: str, *, density_only: bool = False) -> Contender:
    """Read a contender.

    Raises
    ------
    SpecError
        If its backend is not installed.
    Unsupported
        If its backend lacks what is asked for, or finds no GPU here.
    """
    if density_only:
        backend, _, words = name.partition("@")
        # A backend may lack the chain method that is assumed where none is named.
        name += f",{_method(backend, 'gpu' if 'gpu' in words.split(',') else 'cpu')}"
    found = Contender.parse(name, LEVELS)
    reason = refused_gpu(found.backend) if found.device == "gpu" else None
    if reason is not None:
        raise Unsupported(reason)
    return replace(found, sampler=None, chain_method=NO_METHOD) if density_only else found


def build(contender: Contender, size: str) -> CompiledModel:
    """Compile a contender anew.

    Raises
    ------
    Unsupported
        If its backend finds that it cannot.
    """
    return registry.get(contender.backend).backend.compile(
        make_problem(size),
        contender.formulation,
        sampler=contender.sampler,
        device=contender.device,
        dtype=contender.dtype,
    )


def built(contender: Contender, size: str) -> CompiledModel:
    """Compile a contender once, unless a suite that times it has done so; other suites share it."""
    if (contender, size) not in _KEPT:
        keep(contender, size, build(contender, size))
    return _KEPT[contender, size]


def keep(contender: Contender, size: str, model: CompiledModel) -> None:
    """Leave a compiled model to the suites that follow."""
    _KEPT[contender, size] = model


def prepare(model: CompiledModel, config: SamplerConfig) -> bool:
    """Compile all that sampling needs where that can be asked for; say whether it could."""
    if not isinstance(model, Preparable):
        return False
    model.prepare(config)
    return True


@cache
def sampled_density(contender: Contender, size: str) -> TargetDensity:
    """Return what the contender's sampler evaluates, compiled once.

    Raises
    ------
    Unsupported
        If the backend does not give it out.
    """
    model = built(contender, size)
    if not isinstance(model, Differentiable):
        reasons = registry.get(contender.backend).backend.capabilities().reasons
        keys = (f"{contender.sampler} gradient", "gradient")
        reason = next(
            (reasons[key] for key in keys if key in reasons), "its backend does not offer it"
        )
        raise Unsupported(f"{contender.engine} has no sampled density with a gradient: {reason}.")
    return model.target_density()


def why_no_gpu() -> str | None:
    """Return None if an installed backend finds a GPU, or else the reasons of those that looked for one."""
    reasons = {
        name: refused_gpu(name)
        for name, entry in registry.backends().items()
        if entry.installed and "gpu" in entry.backend.capabilities().devices
    }
    if None in reasons.values():
        return None
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    return told or "no installed backend runs on a GPU"


@cache
def refused_gpu(name: str) -> str | None:
    """Return why a backend that runs on GPUs finds none here, in its own words; None if it does."""
    backend = registry.get(name).backend
    can = backend.capabilities()
    try:
        backend.compile(
            make_problem("small"),
            _any_formulation(can),
            sampler=next(iter(backend.samplers), None),
            device="gpu",
            dtype=next(dtype for dtype in DTYPES if dtype in can.dtypes),
        )
    except Unsupported as refusal:
        return str(refusal)
    return None


def _any_formulation(can: Capabilities) -> Formulation:
    if "sampled" not in can.coefficients:
        return Formulation.marginalized(LEVELS)
    return Formulation.parse([min(can.centering), min(can.likelihoods)], LEVELS)


def described(contender: Contender, size: str) -> dict[str, Any]:
    """Say, for a record, who was timed on what."""
    problem = make_problem(size)
    return {
        "contender": contender.name,
        "engine": contender.engine,
        "formulation": str(contender.formulation),
        "device": contender.device,
        "dtype": contender.dtype,
        "rows": problem.n_rows,
        "leaves": problem.levels[-1].n,
        "scalars": len(problem.scalars),
    }
