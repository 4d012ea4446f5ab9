"""What messages say at the command line, where options stand for the arguments that Python's users know.

The library speaks of arguments, in one way: as ``name=value`` where it advises one, and by the name at the
beginning of a message that refuses one. Here, and nowhere else, both become the options' names.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Arguments of Python whose options have another name.
_OTHER_NAMES = {"engines": "engine", "priors": "prior", "problems": "problem", "budget_s": "budget"}
#: Calls that an option stands for.
_CALLS = {
    "Problem(spec, read_table(path))": "leave out --in-batches",
    "by Problem.from_parquet(spec, path)": "with --in-batches",
}
#: How a message goes on that begins with the argument that it refuses.
_REFUSED = r"(?= (?:must|cannot|is|names|takes)\b)"
#: What does not stand before an argument's name, but within a name of the user's.
_START = r"(?<![\w\-'\"`\[])"


def at_the_command_line(message: str) -> str:
    """Return a message of the library with options in the place of arguments.

    Parameters
    ----------
    message : str
        As an error of the library has it.
    """
    known = options()
    for call, option in _CALLS.items():
        message = message.replace(call, option)
    names = "|".join(sorted(known, key=len, reverse=True))
    message = re.sub(rf"{_START}({names})=(True|False)\b", lambda m: _flag(*m.groups()), message)
    message = re.sub(
        rf"{_START}({names})=('[^']*'|\"[^\"]*\"|[^\s,;:()]*[^\s,;:().])",
        lambda m: f"{known[m[1]]} {m[2].strip(chr(39) + chr(34))}",
        message,
    )
    joined = "|".join(name for name in known if "_" in name)
    message = re.sub(rf"{_START}({joined})(?![\w=(\[])", lambda m: known[m[1]], message)
    return re.sub(rf"(^|: )({names}){_REFUSED}", lambda m: m[1] + known[m[2]], message)


def _flag(name: str, value: str) -> str:
    option = options()[name]
    return option if value == "True" else f"leave out {option}"


@cache
def options() -> Mapping[str, str]:
    """The option of each argument, by its name in Python."""
    found: dict[str, str] = {}
    for command in commands():
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name is not None:
                found[parameter.name] = max(parameter.opts, key=len)
    return found | {name: found[other] for name, other in _OTHER_NAMES.items() if other in found}


def commands() -> Iterator[Any]:
    """All commands of the command line, those of ``nestor bench`` among them."""
    import typer

    from nestor.cli import app

    waiting = [typer.main.get_command(app)]
    while waiting:
        command = waiting.pop()
        yield command
        waiting += getattr(command, "commands", {}).values()
