"""From a coroutine to a command: the options of `Connecting` added, `--` understood, the exit code given."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from .connecting import Connecting
from .exits import run
from .targets import as_word

__all__ = ["Group", "add_command"]


def _without_types(parameters: list[Any]) -> list[Any]:
    """Flags as they are typed: help would have `--json <bool>`, as if there was a value to give."""
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return parameters


class Group(TyperGroup):
    """All commands; see `_without_types`."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class _Command(TyperCommand):
    """One command; see `_without_types`."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class _WithTarget(_Command):
    """A command whose target may be a command of its own, after `--`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            own, command = args[:at], args[at + 1 :]
            if not command:
                raise typer.BadParameter("a command is missing after --")
            args = [as_word(command), *own]
        return super().parse_args(ctx, args)


def add_command(app: typer.Typer, main: Callable[..., Awaitable[int]], name: str) -> None:
    """Make `main` the command `name`.

    Args:
        app: what it is a command of.
        main: its docstring is the help, its annotated parameters are arguments and options, and what it
            returns is the exit code. A first parameter of the type `Connecting` stands for all of the fields
            of that: the target comes first of all arguments, the options come last.
        name: the command's.
    """
    own = list(inspect.signature(main, eval_str=True).parameters.values())
    connects = bool(own) and own[0].annotation is Connecting

    def command(**values: Any) -> None:
        if not connects:
            run(lambda: main(**values))
        fields = {key: values.pop(key) for key in list(values) if key in Connecting.__annotations__}
        connecting = Connecting(**fields)
        run(lambda: main(connecting, **values), timeout=connecting.timeout)

    parameters = own
    if connects:
        target, *options = _fields()
        parameters = [target, *own[1:], *options]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    # Lines that end where those of the source do look broken in a terminal of another width.
    paragraphs = inspect.cleandoc(main.__doc__ or "").split("\n\n")
    command.__doc__ = "\n\n".join(each.replace("\n", " ") for each in paragraphs)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    app.command(name, cls=_WithTarget if connects else _Command)(command)


def _fields() -> list[inspect.Parameter]:
    hints = get_type_hints(Connecting, include_extras=True)
    return [
        each.replace(annotation=hints[each.name])
        for each in inspect.signature(Connecting).parameters.values()
    ]
