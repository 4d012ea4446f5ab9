"""Rewrite messages of the library for the command line: options instead of Python's arguments.

The library speaks of arguments, in one way: as ``name=value`` where it advises one, and by the name at the
beginning of a message that refuses one. Here, and nowhere else, both become the options' names.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Arguments of Python whose options have another name.
_OTHER_NAMES = {"engines": "engine", "priors": "prior", "problems": "problem", "budget_s": "budget"}
#: Calls that an option stands for, and what is said where a command lacks it.
_CALLS = {
    "Problem(spec, read_table(path))": ("leave out --in-batches", "give it as one file"),
    "by Problem.from_parquet(spec, path)": (
        "with --in-batches",
        "with --in-batches of nestor fit or nestor compare",
    ),
}
#: How a message goes on that begins with the argument that it refuses.
_REFUSED = r"(?= (?:must|cannot|is|names|takes)\b)"
#: What does not stand before an argument's name, but within a name of the user's.
_START = r"(?<![\w\-'\"`\[])"


def at_the_command_line(message: str, arguments: Sequence[str] = ()) -> str:
    """Return a message of the library with options in the place of arguments.

    Parameters
    ----------
    message : str
        As an error of the library has it.
    arguments : sequence of str
        Of the command line: what the command has no option for stays as it is. Without them the options of
        all commands are named.
    """
    known = options(command_of(arguments))
    has_batches = "in_batches" in known
    for call, (option, elsewhere) in _CALLS.items():
        message = message.replace(call, option if has_batches else elsewhere)
    names = "|".join(sorted(known, key=len, reverse=True))
    if not names:
        return message

    def flag(found: re.Match[str]) -> str:
        option = known[found[1]]
        return option if found[2] == "True" else f"leave out {option}"

    def valued(found: re.Match[str]) -> str:
        value = found[2].strip("'\"")
        return f"{known[found[1]]} {value}"

    message = re.sub(rf"{_START}({names})=(True|False)\b", flag, message)
    message = re.sub(
        rf"{_START}({names})=('[^']*'|\"[^\"]*\"|[^\s,;:()]*[^\s,;:().])", valued, message
    )
    if joined := "|".join(name for name in known if "_" in name):
        message = re.sub(rf"{_START}({joined})(?![\w=(\[])", lambda m: known[m[1]], message)
    return re.sub(rf"(^|: )({names}){_REFUSED}", lambda m: m[1] + known[m[2]], message)


def options(command: str = "") -> Mapping[str, str]:
    """Map argument names in Python to the options of one command, or of all."""
    found: dict[str, str] = {}
    for name, one in commands().items():
        for parameter in one.params:
            is_option = parameter.param_type_name == "option" and parameter.name is not None
            if is_option and command in ("", name):
                found[parameter.name] = max(parameter.opts, key=len)
    return found | {name: found[other] for name, other in _OTHER_NAMES.items() if other in found}


def command_of(arguments: Sequence[str]) -> str:
    """Return the name of the command that the arguments call; empty if there is none."""
    words = [word for word in arguments if not word.startswith("-")]
    known = commands()
    if words[:1] == ["bench"]:
        # nestor bench SCENARIO is nestor bench run SCENARIO.
        words = words[:2] if " ".join(words[:2]) in known else ["bench", "run"]
    else:
        words = words[:1]
    name = " ".join(words)
    return name if name in known else ""


@cache
def commands() -> Mapping[str, Any]:
    """Return all commands by name; subcommands are written as ``bench run``."""
    import typer

    from nestor.cli import app

    root: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in root.commands.items():
        parts = getattr(command, "commands", None)
        found |= {name: command} if parts is None else {f"{name} {k}": v for k, v in parts.items()}
    return found
