"""One pass of the kit over a backend: models and runs are made once and shared by the checks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nestor.engines import registry
from nestor.engines.formulation import Formulation

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from nestor.conformance.check import Subject
    from nestor.data.problem import Problem
    from nestor.engines.protocol import CompiledModel, Device, Draws, DType, Progress, SamplerConfig


@dataclass(frozen=True)
class Build:
    """Everything that a compilation depends on.

    Parameters
    ----------
    problem : Problem
        Model and data.
    formulation : Formulation
        How the posterior is computed.
    sampler : str or None
        None for densities only.
    device, dtype : str
        Where, and in which precision.
    """

    problem: Problem
    formulation: Formulation
    sampler: str | None = None
    device: Device = "cpu"
    dtype: DType = "float64"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Parameters
    ----------
    config : SamplerConfig
        What was asked for.
    draws : Draws
        What came back.
    progress : tuple of Progress
        Every report, in order.
    seconds : float
        Wall time of the call.
    """

    config: SamplerConfig
    draws: Draws
    progress: tuple[Progress, ...]
    seconds: float


@dataclass
class Session:
    """Makes models and runs, each once; what could not be made raises the same error again.

    Parameters
    ----------
    subject : Subject
        The backend that is checked.
    level : float
        False-alarm rate of each check that compares draws with an exact answer.
    """

    subject: Subject
    level: float
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    _failed: dict[Hashable, Exception] = field(default_factory=dict, repr=False)

    def model(self, build: Build) -> CompiledModel:
        """Return the backend's model."""
        return self._once(("model", build), lambda: self.compile(build))

    def compile(self, build: Build) -> CompiledModel:
        """Compile a model that is shared with no other check."""
        return self.subject.backend.compile(
            build.problem,
            build.formulation,
            sampler=build.sampler,
            device=build.device,
            dtype=build.dtype,
        )

    def reference(self, problem: Problem, *, marginalized: bool = False) -> CompiledModel:
        """Return the reference's density of a problem: the joint one, or the density of the scales alone."""
        levels = problem.spec.level_names
        words = Formulation.marginalized(levels) if marginalized else Formulation.parse([], levels)
        backend = registry.get("reference").backend
        return self._once(
            ("reference", problem, marginalized),
            lambda: backend.compile(problem, words, sampler=None, device="cpu", dtype="float64"),
        )

    def run(self, build: Build, config: SamplerConfig) -> Run:
        """Return the run of a model with a configuration."""
        return self._once(("run", build, config), lambda: self.run_again(build, config))

    def run_again(self, build: Build, config: SamplerConfig) -> Run:
        """Sample anew with the shared compiled model, even if this session has such a run already."""
        reports: list[Progress] = []
        model = self.model(build)
        begin = time.perf_counter()
        draws = model.sample(config, reports.append)
        return Run(config, draws, tuple(reports), time.perf_counter() - begin)

    def _once[T](self, key: Hashable, make: Callable[[], T]) -> T:
        if key in self._failed:
            raise self._failed[key]
        if key not in self._kept:
            try:
                self._kept[key] = make()
            except Exception as error:
                self._failed[key] = error
                raise
        found: T = self._kept[key]
        return found
