"""Outcome families: link, parameters and the values an outcome may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nestor.errors import SpecError
from nestor.errors.arguments import shown
from nestor.errors.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Family:
    """An outcome family.

    Parameters
    ----------
    name : str
        The name as users write it.
    link : str
        The function that maps the outcome's location to the linear predictor.
    parameters : tuple of str
        Parameters beyond the linear predictor, as canonical variables; all are positive.
    support : {"real"}
        The values an outcome may take.
    weighted : bool
        Whether a weight w scales the precision (sigma / sqrt(w)).
    """

    name: str
    link: Literal["identity"]
    parameters: tuple[str, ...]
    support: Literal["real"]
    weighted: bool


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("gaussian", "identity", ("sigma",), "real", weighted=True),
        Family("student_t", "identity", ("nu", "sigma"), "real", weighted=True),
    )
}

#: Families that are planned but not implemented, so that a message can say so.
PLANNED = ("bernoulli", "binomial", "poisson", "negative_binomial", "gamma", "beta")

#: What other libraries call them.
_ELSEWHERE = {
    "normal": "gaussian",
    "t": "student_t",
    "student": "student_t",
    "studentt": "student_t",
}


def family(name: str) -> Family:
    """Return the family called `name`.

    Raises
    ------
    SpecError
        If there is no such family; the message lists the known ones.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    known = ", ".join(FAMILIES)
    if name in PLANNED:
        raise SpecError(f"family {name!r} is not supported yet. Supported: {known}.")
    meant = did_you_mean(_ELSEWHERE.get(str(name).lower(), name), (*FAMILIES, *PLANNED))
    raise SpecError(f"unknown family {shown(name)}.{meant} Supported: {known}.")
