"""Make a verb's flags from its declared options, and suggest a flag for a misspelt one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, cast, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from spamctl.config.options import Option, Options, nearest, unknown
from spamctl.errors import UsageError

Flags = Mapping[str, object]

# Options that this system's users may know from another of its kind, and what they type here.
FORMER = {"--action": "traffic and label are verbs here; type spamctl traffic, or spamctl label"}
METAVARS = {int: "N", float: "X", str: "TEXT"}


class VerbCommand(TyperCommand):
    """Verb whose help pages are laid out by `cli/help.py`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page of `--help`: the options of a first page."""
        from spamctl.cli.help import verb_page

        formatter.write(verb_page(ctx))


def _show_every_option(context: typer.Context, *, wanted: bool) -> None:
    """Print the page of `--help-all` and exit, as `--help` does; completion parses the line without running it."""
    if wanted and not context.resilient_parsing:
        from spamctl.cli.help import verb_page

        typer.echo(verb_page(context, advanced=True).removesuffix("\n"))
        raise typer.Exit


HelpAll = Annotated[
    bool,
    typer.Option(
        "--help-all",
        help="Show every option, including the advanced ones, and exit.",
        is_eager=True,
        callback=_show_every_option,
    ),
]


class VerbGroup(TyperGroup):
    """List of the verbs, with its help page laid out by `cli/help.py`; an unknown verb is refused."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page of `spamctl --help`."""
        from spamctl.cli.help import front_page

        formatter.write(front_page(ctx))

    def get_params(self, ctx: Any) -> Any:
        """List the switches before a verb; Typer would import Pydantic to check one that nobody typed and is None."""
        params = super().get_params(ctx)
        for param in params:
            param.default = param.default or False
        return params

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find the verb, or name the one that was probably meant."""
        command = super().get_command(ctx, cmd_name)
        if command is None and not ctx.resilient_parsing:
            verbs = list(self.commands)
            raise UsageError(
                f"{cmd_name}: {unknown(cmd_name, verbs, what='verb', otherwise='there are ' + ', '.join(verbs))}"
            )
        return command


def add_verb(app: typer.Typer, options: type[Options], run: Callable[..., int]) -> None:
    """Add a verb to the command line: `run` takes the flags of its options, then the parameters it declares itself.

    A parameter whose type is a dataclass stands for one for each of its fields.
    """
    declared = options.declared()
    taken = list(inspect.signature(run, eval_str=True).parameters.values())[1:]
    grouped = {item.name: cast("type[Any]", item.annotation) for item in taken if is_dataclass(item.annotation)}
    own = [item for item in taken if item.name not in grouped]
    own += [item for group in grouped.values() for item in _parameters_of(group)]

    def command(*, help_all: bool, **given: object) -> int:  # noqa: ARG001  (its callback answers)
        flags = {option.name: given.pop(option.name) for option in declared}
        groups = {
            name: group(**{item.name: given.pop(item.name) for item in fields(group)})
            for name, group in grouped.items()
        }
        return run(flags, **given, **groups)

    help_all = inspect.Parameter("help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=HelpAll)
    signature = inspect.Signature([*own, *(_parameter(option) for option in declared), help_all])
    cast("Any", command).__signature__ = signature
    app.command(options.verb, help=options.summary, cls=VerbCommand)(command)


def _parameters_of(group: type[Any]) -> Iterator[inspect.Parameter]:
    """Make a parameter of each field of a dataclass."""
    hints = get_type_hints(group, include_extras=True)
    for item in fields(group):
        default = item.default_factory() if callable(item.default_factory) else item.default
        yield inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[item.name])


def _parameter(option: Option) -> inspect.Parameter:
    """Make the flag of one option: text, checked only when all sources are known, and None while not typed."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in option.choices if choice.startswith(incomplete)]

    switch = option.kind is bool
    info = typer.Option(
        f"{option.flag}/--no-{option.flag[2:]}" if switch else option.flag,
        help=option.help,
        metavar=None if switch else "WORD" if option.choices else METAVARS[cast("type[int]", option.kind)],
        autocompletion=complete if option.choices else None,
        rich_help_panel=option.group,
    )
    annotation: Any = Annotated[(bool | None if switch else str | None, info)]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _full_help(context: Any) -> str:
    """Name the command that lists every option: `spamctl train --help-all`, or `spamctl --help` without a verb."""
    return f"{context.command_path} --help{'-all' if isinstance(context.command, VerbCommand) else ''}"


def usage_fault(error: typer.TyperException) -> str:
    """Explain in one line what could not be parsed."""
    flag = getattr(error, "option_name", None)
    context = getattr(error, "ctx", None)
    if flag is None or context is None:
        return error.format_message()
    if flag in FORMER:
        return f"{flag}: {FORMER[flag]}"
    known = [name for param in context.command.get_params(context) for name in param.opts if name.startswith("--")]
    return f"{flag}: there is no such option{nearest(flag, known) or f'; {_full_help(context)} lists them'}"
