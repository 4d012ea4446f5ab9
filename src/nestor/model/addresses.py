"""Addresses of priors: what ``tau_state[month]`` covers, and which addresses a model has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.errors import SpecError
from nestor.errors.text import did_you_mean
from nestor.model.families import family

if TYPE_CHECKING:
    from nestor.model.priors import Prior
    from nestor.model.spec import ModelSpec


def addresses(variable: str, effect: str | None) -> list[str]:
    """Addresses that cover a variable's entry, the most specific first."""
    names = [variable]
    if variable.startswith("tau_"):
        names.append("tau")
    found = []
    for name in names:
        if effect is not None:
            found.append(f"{name}[{effect}]")
        found.append(name)
    return found


def known_addresses(spec: ModelSpec) -> list[str]:
    """Every address that covers something in this model."""
    known = [f"beta[{e}]" for e in spec.effects if e not in spec.zero_mean]
    known = ["beta", *known] if known else []
    if spec.covariates:
        known += ["gamma", *(f"gamma[{c}]" for c in spec.covariates)]
    known += ["tau", *(f"tau[{e}]" for e in spec.effects)]
    for level in spec.levels:
        if level.effects:
            known += [f"tau_{level.name}", *(f"tau_{level.name}[{e}]" for e in level.effects)]
    return known + list(family(spec.family).parameters)


def check_prior(spec: ModelSpec, address: str, prior: Prior) -> None:
    """Refuse a prior on what the model has not, or with the wrong support."""
    known = known_addresses(spec)
    if address not in known:
        meant = did_you_mean(address, known)
        raise SpecError(
            f"no prior can be set on {address!r}.{meant} This model has: {', '.join(known)}."
        )
    if prior.is_fixed and address not in family(spec.family).parameters:
        raise SpecError(f"{address} cannot be fixed at {prior.value:g}: give it a distribution.")
    if prior.is_fixed and prior.value <= 0:
        raise SpecError(f"{address} must be greater than 0, not {prior.value:g}.")
    scale_like = not address.startswith(("beta", "gamma"))
    if scale_like and not prior.is_positive:
        raise SpecError(f"the prior of {address}, {prior}, must lie on positive numbers.")
