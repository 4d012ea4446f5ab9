"""What a results directory says of itself: which scenario, in which form, by which command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from nestor.bench.record import SCHEMA_VERSION
from nestor.bench.scenario import Scenario  # noqa: TC001 - pydantic reads annotations
from nestor.errors import DataError
from nestor.runner import store

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST: Final = "bench.json"
_KIND: Final = "nestor benchmark"


class ManifestDocument(BaseModel):
    """What a results directory says of itself."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1]
    kind: str
    name: str
    quick: bool
    command: str
    scenario: Scenario
    toml: str


def write_manifest(
    folder: Path, scenario: Scenario, text: str, command: str, *, quick: bool
) -> None:
    """Say in a results directory whose results it holds."""
    document = ManifestDocument(
        schema_version=SCHEMA_VERSION,
        kind=_KIND,
        name=scenario.name,
        quick=quick,
        command=command,
        scenario=scenario,
        toml=text,
    )
    store.write_json(folder / MANIFEST, document.model_dump(mode="json"))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a results directory.

    Raises
    ------
    DataError
        If there is none, or it is of another schema.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{folder} is no results directory: it has no {MANIFEST}.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}). Choose another directory.") from None
    if not isinstance(found, dict) or found.get("kind") != _KIND:
        raise DataError(f"{path} is not the manifest of a benchmark. Choose another directory.")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"the results in {folder} have schema {found.get('schema_version')!r}; this nestor "
            f"reads and writes {SCHEMA_VERSION}. Choose another directory."
        )
    try:
        ManifestDocument.model_validate(found)
    except ValidationError:
        raise DataError(
            f"{path} has been damaged, and says no more which scenario this is. Choose another "
            "directory, or put the file back."
        ) from None
    return found


def check_owner(folder: Path, scenario: Scenario, *, quick: bool) -> None:
    """Refuse a directory that is there and holds something else than results of this scenario.

    Raises
    ------
    DataError
        If that is so.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"the results directory {folder} is a file. Choose another directory.")
    if not (folder / MANIFEST).exists():
        if any(p.name != ".lock" for p in folder.iterdir()):
            raise DataError(
                f"the directory {folder} is not empty and holds no benchmark. Choose another directory."
            )
        return
    found = read_manifest(folder)
    if (found.get("name"), found.get("quick")) != (scenario.name, quick):
        form = " (quick)" if found.get("quick") else ""
        raise DataError(
            f"the results in {folder} are those of {found.get('name')}{form}. Choose another directory."
        )
