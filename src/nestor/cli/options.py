"""The command line's options that describe a model, read into a `ModelSpec`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nestor.errors import SpecError
from nestor.errors.arguments import path as as_path
from nestor.model.spec import ModelSpec
from nestor.model.toml import read_toml

if TYPE_CHECKING:
    from pathlib import Path


def refuse_table(formula: str | None, data: str | None = None) -> None:
    """Refuse a table given as formula, unless DATA is a table too.

    Raises
    ------
    SpecError
        If the text names one.
    """
    from nestor.data.tables import names_table

    if formula is not None and names_table(formula) and not (data and names_table(data)):
        raise SpecError(
            f"DATA stands before FORMULA, and {formula!r}, which stands where FORMULA belongs, is a table: "
            "swap them."
        )


#: What looks like a prior, right or wrong: a name with something in brackets, or a number.
_PRIOR = re.compile(r"[A-Za-z]\w*\s*\(.*\)|[-+]?[\d.]+(?:[eE][-+]?\d+)?", re.DOTALL)


def read_model(
    formula: str | None,
    path: Path | None,
    priors: list[str] | None,
    family: str | None,
    scale: list[str] | None,
    offset: str | None,
    weights: str | None,
) -> ModelSpec:
    """Make the description from a formula and options, or from a TOML file and --prior.

    Raises
    ------
    SpecError
        If options contradict each other or cannot be read.
    """
    given: dict[str, str] = {}
    for text in priors or []:
        address, prior = _prior(text)
        if address in given:
            raise SpecError(f"--prior {address} is given twice.")
        given[address] = prior
    options = {"--family": family, "--scale": scale, "--offset": offset, "--weights": weights}
    if path is not None:
        if formula is not None:
            raise SpecError("give either FORMULA or --spec, not both.")
        if clash := [name for name, value in options.items() if value is not None]:
            raise SpecError(f"{clash[0]} cannot be combined with --spec: write it into {path}.")
        file = as_path("--spec", path, error=SpecError)
        return ModelSpec.from_toml(read_toml(file, "model description")).with_priors(given)
    refuse_table(formula)
    if formula is None:
        raise SpecError("say which model: FORMULA, such as 'y ~ x + (x || group)', or --spec FILE.")
    return ModelSpec.from_formula(
        formula,
        family="gaussian" if family is None else family,
        priors=given,
        scale=_scale(scale or []),
        offset=offset,
        weights=weights,
    )


def _prior(text: str) -> tuple[str, str]:
    # A name of the address may have an equals sign of its own: after the right one stands a prior.
    for match in re.finditer("=", text):
        address, prior = text[: match.start()].strip(), text[match.end() :].strip()
        if address and _PRIOR.fullmatch(prior):
            return address, prior
    address, _, prior = (part.strip() for part in text.partition("="))
    if not address or not prior:
        raise SpecError(f"--prior {text!r}: write ADDRESS=PRIOR, such as 'tau=HalfNormal(2)'.")
    return address, prior


def _scale(texts: list[str]) -> Any:
    """Read --scale: one word for all levels, or LEVEL=word for some."""
    by_level: dict[str, str] = {}
    general: str | None = None
    for text in texts:
        level, equals, word = text.rpartition("=")
        if word not in ("level", "parent"):
            raise SpecError(f"--scale {text!r}: write level, parent or LEVEL=parent.")
        if equals:
            if by_level.setdefault(level, word) != word:
                raise SpecError(f"--scale {level} is given twice, as level and as parent.")
        elif general not in (None, word):
            raise SpecError("--scale cannot be both level and parent; write LEVEL=parent for some.")
        else:
            general = word
    if by_level and general is not None:
        raise SpecError("--scale: give either one word for all levels or LEVEL=word for some.")
    return by_level or general or "level"
