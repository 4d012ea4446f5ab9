"""The command line's options that describe a model, read into a `ModelSpec`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nestor.arguments import path as as_path
from nestor.errors import SpecError
from nestor.spec import ModelSpec
from nestor.toml import read_toml

if TYPE_CHECKING:
    from pathlib import Path


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
    match = re.fullmatch(r"\s*([^=\[]+(?:\[.*?\])?)\s*=(.+)", text, re.DOTALL)
    if match is None or not match[2].strip():
        raise SpecError(f"--prior {text!r}: write ADDRESS=PRIOR, such as 'tau=HalfNormal(2)'.")
    return match[1].strip(), match[2].strip()


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
