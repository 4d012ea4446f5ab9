"""What all commands share: groups of options, refused repetitions, checked paths, interrupts."""

from __future__ import annotations

import functools
import inspect
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Callable


def takes_groups[R](command: Callable[..., R]) -> Callable[..., R]:
    """Return a command with an option for each field of the dataclasses among its arguments.

    So a group of options that several commands share, such as `nestor.cli.arguments.SamplerOptions`, is
    declared once. The annotations of its fields describe the options; the argument's default is an instance
    that holds the defaults of this command.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name]))
            continue
        of_field = get_type_hints(groups[name], include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=getattr(parameter.default, field.name),
                annotation=of_field[field.name],
            )
            for field in fields(groups[name])
        ]

    @functools.wraps(command)
    def run(**kwargs: Any) -> R:
        for name, kind in groups.items():
            kwargs[name] = kind(**{field.name: kwargs.pop(field.name) for field in fields(kind)})
        return command(**kwargs)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    del run.__wrapped__  # whose arguments are others
    return run


class Once(TyperCommand):
    """A command that refuses an option given twice; typer would silently take the last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises
        ------
        BadParameter
            If an option that takes one value has two.
        """
        given = list(args)
        try:
            rest = super().parse_args(ctx, args)
        except typer.BadParameter as error:
            self._explain(error, ctx, given)
            raise
        except Exception as error:
            if hasattr(error, "option_name") and hasattr(error, "possibilities"):
                _say_what_was_meant(error, [name for one in self.params for name in one.opts])
            raise
        if ctx.resilient_parsing:
            return rest
        _, _, order = self.make_parser(ctx).parse_args(args=given)
        for one in self.params:
            single = (
                one.param_type_name == "option"
                and not one.multiple
                and not getattr(one, "is_flag", False)
            )
            if single and sum(other is one for other in order) > 1:
                name = max(one.opts, key=len)
                several = " nestor compare takes several." if name == "--engine" else ""
                raise typer.BadParameter(
                    f"{name} is given twice; it takes one value.{several}", ctx
                )
        return rest

    def _explain(self, error: typer.BadParameter, ctx: Any, given: list[str]) -> None:
        """Replace typer's message about a bad value by a plain one."""
        name = getattr(error.param, "name", None)
        if name is None or self.callback is None:
            return
        values, _, _ = self.make_parser(ctx).parse_args(args=given)
        value, command = values.get(name), inspect.unwrap(self.callback)
        if isinstance(value, str) and name in inspect.signature(command).parameters:
            error.message = _wanted(command, name, value) or error.message


def _wanted(command: Callable[..., Any], name: str, value: str) -> str:
    """Say what an option's value must be and what was given; empty for types without such a message."""
    from nestor.errors.arguments import shown
    from nestor.errors.text import did_you_mean

    kinds = _kinds(get_type_hints(command)[name])
    for kind in kinds:
        if get_origin(kind) is Literal:
            words = get_args(kind)
            meant = did_you_mean(value, words)
            return f"it must be {' or '.join(map(str, words))}, not {shown(value)}.{meant}"
    if int in kinds:
        return f"it must be a whole number, {_digits(value)}not {shown(value)}."
    return f"it must be a number, not {shown(value)}." if float in kinds else ""


def _kinds(annotation: Any) -> list[Any]:
    """The types of an annotation, without None."""
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    return [] if annotation is type(None) else [annotation]


def _digits(value: str) -> str:
    """Return an example of a whole number, such as the value of 1e3, for a message."""
    try:
        number = float(value)
    except ValueError:
        return ""
    plain = number.is_integer() and abs(number) < 2**53
    return f"such as {int(number)}, " if plain else "such as 1000, "


def _say_what_was_meant(error: Any, known: list[str]) -> None:
    """Add nestor's own suggestion to the message about an unknown option."""
    from nestor.errors.text import did_you_mean

    meant = did_you_mean(error.option_name, ["--version", *known])
    if meant:
        error.message = f"{error.message}.{meant.replace("'--version'", 'nestor --version')}"
    error.possibilities = ()


def checks_paths[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Return a command that expands its paths and refuses paths that cannot be used."""
    parameters = inspect.signature(command).parameters

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from nestor.errors.arguments import path

        for name, value in kwargs.items():
            option = parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
            what = f"--{name.replace('_', '-')}" if option else name.upper()
            if isinstance(value, Path):
                kwargs[name] = path(what, value)
            elif isinstance(value, list):
                kwargs[name] = [path(what, v) if isinstance(v, Path) else v for v in value]
        return command(*args, **kwargs)

    return run


class Interrupted(Exception):  # noqa: N818 - it is no error
    """A command was interrupted; its text says what is kept, if anything is."""


def interruptible[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Return a command that raises `Interrupted` instead of `KeyboardInterrupt`, with the same text."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(str(interrupt)) from None

    return run
