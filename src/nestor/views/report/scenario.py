"""What the report says of a scenario beside its figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ScenarioInfo:
    """A scenario in words; all of it is text from users and is escaped on the page.

    Attributes
    ----------
    name : str
        As in the table's column ``scenario``.
    title, about : str
        For whoever reads the report.
    formula : str
        The model.
    data : str
        Where the rows come from.
    priors : mapping
        Variable to prior.
    settings : mapping
        Track to its settings in words.
    command : tuple of str
        Command lines that run it again, one each.
    toml : str
        The scenario's file.
    """

    name: str
    title: str = ""
    about: str = ""
    formula: str = ""
    data: str = ""
    priors: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    toml: str = ""
