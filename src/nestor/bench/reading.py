"""A scenario's file: read from TOML, with its quick form, and refused with the place of a mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from nestor.bench.scenario import (
    Block,
    Data,
    Defaults,
    Limits,
    Matched,
    Model,
    Scenario,
    Settings,
    Sweep,
    Tracks,
)
from nestor.errors import SpecError
from nestor.errors.arguments import pydantic_complaint, shown
from nestor.errors.text import did_you_mean
from nestor.model.toml import parse_toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario's file; its table quick has the same keys, all optional."""
    found = Scenario.model_json_schema()
    quick = {
        "type": "object",
        "description": "What differs in the quick form",
        "propertyNames": {"enum": [n for n in found["properties"] if n not in _FIXED]},
    }
    found["properties"]["quick"] = quick
    return found | {"title": "nestor scenario"}


_FIXED = ("name", "title", "about")


def read_scenario(text: str, source: str, *, quick: bool = False) -> Scenario:
    """Read a scenario from TOML text.

    Parameters
    ----------
    text : str
        The file's content.
    source : str
        Its name, for messages.
    quick : bool
        Whether to put the table ``[quick]`` over the rest: tables are merged, all else is replaced.

    Raises
    ------
    SpecError
        If it is not TOML, has an unknown key, a wrong value or an empty grid; or has no quick form.
    """
    fields = parse_toml(text, f"scenario {source}")
    over = fields.pop("quick", None)
    if over is not None and not isinstance(over, dict):
        raise SpecError(f"scenario {source}: quick is a table, not {shown(over)}.")
    whole = _validated(fields, source)
    if over is None:
        if quick:
            raise SpecError(f"scenario {source} has no table [quick]: it has one form only.")
        return whole
    if fixed := [name for name in _FIXED if name in over]:
        raise SpecError(f"scenario {source}: [quick] cannot change {fixed[0]}.")
    # Both forms are read whichever is asked for, so that a mistake in either is found at once.
    small = _validated(_merged(fields, over), f"{source}, [quick]")
    return small if quick else whole


def _merged(fields: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(fields)
    for name, value in over.items():
        below = merged.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        # Tracks are a choice, not settings: the quick form names those that it runs.
        merged[name] = _merged(below, value) if both and name != "tracks" else value  # type: ignore[arg-type]
    return merged


def _validated(fields: Mapping[str, Any], source: str) -> Scenario:
    try:
        found = Scenario.model_validate(fields)
    except ValidationError as error:
        raise SpecError(f"scenario {source}: {_first(error)}") from None
    # No rule of the scenario's own: a results directory has it with every default written out.
    if found.data.table is not None and "seed" in found.data.model_fields_set:
        raise SpecError(
            f"scenario {source}: data.seed is of simulated rows, and those of a table are not: leave it out."
        )
    return found


def _first(error: ValidationError) -> str:
    """The first complaint, with the place in the file and, for a key, what was meant."""
    # A key that is misspelt is unknown, and often another one is missing for it.
    found = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    # A number may be whole or not: which of the two was tried last is no part of the place.
    where = _place([p for p in found["loc"] if p not in ("int", "float")])
    if found["type"] == "extra_forbidden":
        meant = did_you_mean(found["loc"][-1], _known_keys(found["loc"]))
        known = ", ".join(_known_keys(found["loc"])) or "none"
        return f"unknown key {where[:100]}.{meant} Known there: {known}."
    colon = "" if found["type"] == "missing" or not where else ":"
    return f"{where}{colon} {pydantic_complaint(found)}".lstrip()


def _place(loc: Sequence[int | str]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part[:60]}"
    return text.removeprefix(".")


def _known_keys(loc: Sequence[int | str]) -> list[str]:
    """Keys that are allowed where an unknown one stands."""
    known: type[BaseModel] = Scenario
    for part in loc[:-1]:
        inner: dict[str, type[BaseModel]] = {
            "data": Data,
            "model": Model,
            "sweep": Sweep,
            "tracks": Tracks,
            "matched": Matched,
            "defaults": Defaults,
            "grid": Block,
            "settings": Settings,
            "limits": Limits,
        }
        known = inner.get(str(part), known)
    return list(known.model_fields)
