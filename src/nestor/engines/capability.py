"""The one check of what is asked of an engine, made before anything is compiled or started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.data.marginalization import not_marginalizable
from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import Backend, Capabilities, SamplerConfig

#: Fields of `SamplerConfig` that a sampler may refuse; None leaves the library's own setting.
OPTIONS = ("target_accept", "max_tree_depth", "metric")


def refusal(
    backend: Backend,
    *,
    sampler: str | None,
    device: str,
    dtype: str,
    problem: Problem | None = None,
    formulation: Formulation | None = None,
    chain_method: str | None = None,
    config: SamplerConfig | None = None,
) -> str | None:
    """Say why an engine cannot do what is asked of it; None where nothing speaks against it.

    Parameters
    ----------
    backend : Backend
        With its capabilities.
    sampler : str or None
        None for densities only.
    device, dtype : str
        Where, and in which precision.
    problem : Problem, optional
        What is not given is not checked.
    formulation : Formulation, optional
        How the posterior is computed.
    chain_method : str, optional
        How chains are run.
    config : SamplerConfig, optional
        Whose options, other than None, the sampler must not have refused in its reasons.

    Returns
    -------
    str or None
        A sentence that names the engine, what it lacks, and the reason that `Capabilities.reasons` gives.
    """
    can = backend.capabilities()
    engine = backend.name if sampler is None else f"{backend.name}:{sampler}"
    if sampler is not None and sampler not in backend.samplers:
        have = ", ".join(backend.samplers) or "none: it evaluates densities only"
        return f"engine {backend.name!r} has no sampler {sampler!r}; it has {have}."
    wanted = [(device, can.devices), (dtype, can.dtypes)]
    if problem is not None:
        wanted.append((problem.spec.family, can.families))
    if formulation is not None:
        wanted += _of_formulation(formulation, can)
    if chain_method is not None:
        wanted.append((chain_method, can.chain_methods))
    for word, available in wanted:
        if word not in available:
            reason = can.reason([word]) or "its capabilities do not include it"
            return f"engine {engine!r} cannot run {word}: {reason}."
    marginalized = formulation is not None and formulation.is_marginalized
    # Coefficients that are no Gaussian given the scales integrate out exactly in no engine.
    if problem is not None and marginalized and (why := not_marginalizable(problem)):
        return f"engine {engine!r} cannot run marginalized: {why}."
    words = set() if problem is None else features(problem)
    words |= {word for word, _ in wanted} | (
        {sampler, "sampling"} if sampler is not None else set()
    )
    if config is not None:
        words |= {name for name in OPTIONS if getattr(config, name) is not None}
    if found := can.missing(words):
        return f"engine {engine!r} cannot run {found}: {can.reasons[found]}."
    return None


def _of_formulation(
    formulation: Formulation, can: Capabilities
) -> Iterator[tuple[str, frozenset[str]]]:
    yield formulation.coefficients, can.coefficients
    if not formulation.is_marginalized:
        yield formulation.likelihood, can.likelihoods
        for centering in dict.fromkeys(formulation.centering):
            yield centering, can.centering


def features(problem: Problem) -> set[str]:
    """Parts of models that a problem has, as `Missing` names them."""
    spec = problem.spec
    found = {
        "weights": spec.weights is not None,
        "offset": spec.offset is not None,
        "covariates": bool(spec.covariates),
        "parent": any(level.per_parent for level in problem.levels),
    }
    return {name for name, has in found.items() if has}


def require(
    backend: Backend,
    problem: Problem,
    formulation: Formulation,
    *,
    sampler: str | None,
    device: str,
    dtype: str,
) -> None:
    """Refuse what a backend's `compile` cannot do; takes the arguments of `Backend.compile`.

    Raises
    ------
    Unsupported
        With the sentence of `refusal`.
    """
    found = refusal(
        backend,
        problem=problem,
        formulation=formulation,
        sampler=sampler,
        device=device,
        dtype=dtype,
    )
    if found is not None:
        raise Unsupported(found)


def require_config(backend: Backend, sampler: str, config: SamplerConfig) -> None:
    """Refuse a configuration whose chain method the backend lacks, or whose options its reasons name.

    Raises
    ------
    Unsupported
        With the reason.
    """
    can = backend.capabilities()
    device, dtype = min(can.devices), min(can.dtypes)
    found = refusal(
        backend,
        sampler=sampler,
        device=device,
        dtype=dtype,
        chain_method=config.chain_method,
        config=config,
    )
    if found is not None:
        raise Unsupported(found)
