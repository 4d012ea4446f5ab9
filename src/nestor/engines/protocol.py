"""The contract of a backend: two small protocols and the values that pass through them.

What a backend may offer beside them is in `nestor.engines.optional`, and can be imported from here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

from nestor.engines.formulation import Centering, Coefficients, Likelihood
from nestor.engines.optional import (
    Differentiable,
    LazyDraws,
    Preparable,
    ProcessEnvironment,
    Resumable,
    Reusable,
    SupportsLazyDraws,
    TargetDensity,
)
from nestor.errors import SpecError
from nestor.errors.arguments import MOST_CHAINS, MOST_ITERATIONS, number, one_of, whole
from nestor.errors.text import short_repr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation

__all__ = [
    "Backend",
    "Capabilities",
    "ChainMethod",
    "CompiledModel",
    "DType",
    "Device",
    "Differentiable",
    "Draws",
    "LazyDraws",
    "Metric",
    "Missing",
    "Phase",
    "Preparable",
    "ProcessEnvironment",
    "Progress",
    "ProgressCallback",
    "Resumable",
    "Reusable",
    "SamplerConfig",
    "SupportsLazyDraws",
    "TargetDensity",
    "Timings",
]

Device = Literal["cpu", "gpu"]
DType = Literal["float64", "float32"]
ChainMethod = Literal["sequential", "parallel", "vectorized"]
Metric = Literal["diagonal_draws"]
Phase = Literal["compile", "warmup", "sampling", "postprocess"]


@dataclass(frozen=True)
class Missing:
    """Something that a backend cannot do: a key of `Capabilities.reasons`.

    Several fields together mean their combination, where each is offered alone.

    Parameters
    ----------
    family, centering, likelihood, coefficients, device, dtype, chain_method, sampler : str, optional
        A word of the contender, or the outcome's family.
    option : {"target_accept", "max_tree_depth", "metric", "warmup"}, optional
        A field of `SamplerConfig` that a sampler does not have; "warmup" where it adapts nothing.
    prior : str, optional
        A family of priors.
    feature : {"weights", "offset", "covariates", "parent"}, optional
        A part of models; "parent" are scales of each parent node.
    sampling : bool
        Whether it is about sampling only, where densities are offered.
    resuming : bool
        Whether it is about chains that go on from where they stand; see `Resumable`.

    Raises
    ------
    SpecError
        If no field is given, or a word is unknown.
    """

    family: str | None = None
    centering: str | None = None
    likelihood: str | None = None
    coefficients: str | None = None
    device: str | None = None
    dtype: str | None = None
    chain_method: str | None = None
    sampler: str | None = None
    option: str | None = None
    prior: str | None = None
    feature: str | None = None
    sampling: bool = False
    resuming: bool = False

    def __post_init__(self) -> None:
        for name, known in _KNOWN.items():
            if (word := getattr(self, name)) is not None:
                one_of(f"Missing.{name}", word, known)
        if not self.words:
            raise SpecError("Missing() says nothing: name what is missing.")

    @property
    def words(self) -> frozenset[str]:
        """What must be asked for together: words of contenders, and "sampling" and "extend"."""
        texts = {value for value in vars(self).values() if isinstance(value, str)}
        texts |= {"sampling"} if self.sampling else set()
        return frozenset(texts | ({"extend"} if self.resuming else set()))

    def __str__(self) -> str:
        texts = [value for value in vars(self).values() if isinstance(value, str)]
        texts += ["sampling"] * self.sampling + ["extend"] * self.resuming
        return " ".join(texts)


#: Words of `Missing` whose number is known. Families of outcomes and priors may be those of a later nestor.
_KNOWN: dict[str, tuple[str, ...]] = {
    "centering": get_args(Centering),
    "likelihood": get_args(Likelihood),
    "coefficients": get_args(Coefficients),
    "device": get_args(Device),
    "dtype": get_args(DType),
    "chain_method": get_args(ChainMethod),
    "option": ("target_accept", "max_tree_depth", "metric", "warmup"),
    "feature": ("weights", "offset", "covariates", "parent"),
}


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do; conformance checks are chosen by it.

    Parameters
    ----------
    families : frozenset of str
        Outcome families.
    centering : frozenset of str
        Of "centered" and "noncentered".
    devices, dtypes, chain_methods : frozenset of str
        Where it runs, in which precision, and how chains are run; the latter empty without a sampler.
    reasons : mapping of Missing to str
        For what is missing, one of: not yet ours, not in the library, never; and why.
    likelihoods : frozenset of str
        Of "rows" and "statistics"; see `Formulation`.
    coefficients : frozenset of str
        Of "sampled" and "marginalized"; see `Formulation`.
    """

    families: frozenset[str]
    centering: frozenset[str]
    devices: frozenset[str]
    dtypes: frozenset[str]
    chain_methods: frozenset[str]
    reasons: Mapping[Missing, str] = field(default_factory=dict)
    likelihoods: frozenset[str] = frozenset({"rows"})
    coefficients: frozenset[str] = frozenset({"sampled"})

    def missing(self, words: Iterable[str]) -> Missing | None:
        """Return the first key of the reasons that is about nothing but these words."""
        asked = set(words)
        return next((found for found in self.reasons if found.words <= asked), None)

    def reason(self, words: Iterable[str]) -> str | None:
        """Return the reason for what is missing of these words, if there is one; see `Missing.words`."""
        found = self.missing(words)
        return None if found is None else self.reasons[found]


@dataclass(frozen=True)
class SamplerConfig:
    """How hard a sampler tries.

    Parameters
    ----------
    chains, warmup, draws : int
        Number of chains; iterations of each that adapt and are dropped; iterations that are kept.
    seed : int
        Non-negative. With everything else the same (model, data, engine, formulation and the fields here,
        but for `cores`) the same seed gives the same draws, to the last bit: on one kind of machine, with
        the same versions of the libraries (`Backend.versions`), on the CPU; with empty compile caches and
        with full ones. Other processors and other versions round otherwise, and chains part after a few
        iterations: then draws agree within Monte Carlo error. On a GPU the compiler may choose other
        algorithms each time that it compiles.
    target_accept : float or None
        Target acceptance statistic in (0, 1); None leaves the library's default.
    max_tree_depth : int or None
        Doublings of a trajectory at most; None leaves the library's default.
    chain_method : {"sequential", "parallel", "vectorized"}
        One chain after another, side by side on cores, or all in one vectorized program.
    cores : int or None
        Chains that may run at once under "parallel"; None means as many as the process may use.
    metric : {"diagonal_draws"} or None
        A diagonal metric estimated during warmup from the draws alone, no gradients; None leaves the
        library's default.

    Raises
    ------
    SpecError
        If a number is out of range, or a word unknown.
    """

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    seed: int = 1
    target_accept: float | None = None
    max_tree_depth: int | None = None
    chain_method: ChainMethod = "parallel"
    cores: int | None = None
    metric: Metric | None = None

    def __post_init__(self) -> None:
        checked: dict[str, object] = {
            "chains": whole("chains", self.chains, least=1, most=MOST_CHAINS)
        }
        checked |= {
            name: whole(name, getattr(self, name), least=1, most=MOST_ITERATIONS)
            for name in ("warmup", "draws", "max_tree_depth", "cores")
            if name in ("warmup", "draws") or getattr(self, name) is not None
        }
        checked["seed"] = whole("seed", self.seed, least=0)
        if self.target_accept is not None:
            checked["target_accept"] = number(
                "target_accept", self.target_accept, above=0.0, below=1.0
            )
        one_of("chain_method", self.chain_method, get_args(ChainMethod))
        if self.metric is not None:
            one_of("metric", self.metric, get_args(Metric))
        for name, value in checked.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Timings:
    """Seconds of each phase; None where a sampler cannot separate one from another, never a guess.

    A sampler that knows warmup and sampling only together says so in `warmup_and_sampling`.

    `upload`, data to the device, was spent when the model was compiled (see `Preparable`), all others in
    `sample`: `compile` is what is compiled there. Where chains go on, both belong to the first stretch.

    Where chains outnumber cores their phases overlap: wall time is then split between warmup and
    sampling in proportion to the sums over chains, and the chains' own seconds are kept beside it.
    """

    upload: float | None = None
    compile: float | None = None
    warmup: float | None = None
    sampling: float | None = None
    warmup_and_sampling: float | None = None
    postprocess: float | None = None
    transfer: float | None = None
    warmup_per_chain: tuple[float, ...] = ()
    sampling_per_chain: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Draws:
    """What a sampler returns: bare arrays on the host.

    Parameters
    ----------
    values : mapping of str to ndarray, (chain, draw, *shape)
        Every variable of `Problem.variables`, with inherited and fixed entries filled in.
    stats : mapping of str to ndarray, (chain, draw)
        Under ArviZ's names: diverging, energy, n_steps, tree_depth, acceptance_rate, step_size, and lp,
        the log density that was sampled, on the unconstrained space, as the sampler itself saw it.
        log_jacobian, optional: log |d canonical / d unconstrained| at each draw. ``lp - log_jacobian``
        is then the log joint density of the canonical variables, all constants included, and is
        compared with the reference after sampling.
    timings : Timings
        Seconds of each phase.
    settings : mapping
        What the sampler really used: target_accept, max_tree_depth, metric, metric_estimate ("draws",
        where it is made from draws alone), chain_method, cores, ...
    device_peak_bytes : int or None
        Largest memory in use on the device since the process began; None where it has no memory of its
        own, or does not report it.
    deferred : LazyDraws or None
        The variables that `values` lacks; None where it lacks none.
    """

    values: Mapping[str, NDArray[np.float64]]
    stats: Mapping[str, NDArray[np.generic]]
    timings: Timings
    settings: Mapping[str, object]
    device_peak_bytes: int | None = None
    deferred: LazyDraws | None = None

    __repr__ = short_repr


@dataclass(frozen=True)
class Progress:
    """State of one chain: `done` of `total` iterations, warmup included."""

    chain: int
    phase: Phase
    done: int
    total: int
    divergences: int


ProgressCallback = Callable[[Progress], None]


@runtime_checkable
class CompiledModel(Protocol):
    """A model that is ready to be evaluated and sampled."""

    def log_density(self, point: Mapping[str, NDArray[np.float64]]) -> float:
        """Log joint density at a point of the canonical variables.

        Parameters
        ----------
        point : mapping of str to ndarray
            Every variable of `Problem.variables`, natural scale. Entries that are inherited or fixed are
            ignored: the engine fills them in itself.

        Returns
        -------
        float
            With respect to the canonical variables: every Jacobian accounted for, all constants included.
            Minus infinity where a prior's support ends.
        """
        ...

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None = None) -> Draws:
        """Run all chains; return only when every draw is a NumPy array on the host.

        Raises
        ------
        Unsupported
            If a setting cannot be honoured.
        """
        ...


@runtime_checkable
class Backend(Protocol):
    """A backend: implements the model. Constructed without arguments; importing it loads no sampler.

    Attributes
    ----------
    name : str
        Equals the entry point's name.
    requires : tuple of str
        Import names that it needs, probed without importing them.
    samplers : tuple of str
        The first is the default; empty: densities only.
    implementation : str
        Names the model's implementation: backends that share code share this, and then their
        agreement is no evidence about that code.
    """

    name: str
    requires: tuple[str, ...]
    samplers: tuple[str, ...]
    implementation: str

    def capabilities(self) -> Capabilities:
        """What this backend can do."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that decide its results."""
        ...

    def compile(
        self,
        problem: Problem,
        formulation: Formulation,
        *,
        sampler: str | None,
        device: Device,
        dtype: DType,
    ) -> CompiledModel:
        """Build and compile. ``sampler=None`` asks for densities only.

        Raises
        ------
        Unsupported
            With the reason; nothing is degraded quietly.
        """
        ...
