"""Print the topics of `spamctl help`: short texts about what concerns more than one verb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import spamctl
from spamctl.cli.flags import Flags
from spamctl.config.words import unknown
from spamctl.errors import UsageError

TOPICS = {
    **{path.stem: path for path in sorted((Path(__file__).parent / "texts").glob("*.txt"))},
    "changes": Path(spamctl.__file__).parent / "CHANGELOG.md",
}

Topic = Annotated[
    str, typer.Argument(metavar="[TOPIC]", help="A topic, or a verb.", autocompletion=lambda: list(TOPICS))
]


def text(topic: str) -> str:
    """Return a topic as it is printed."""
    return TOPICS[topic].read_text(encoding="utf-8")


def titles() -> dict[str, str]:
    """Return the first line of every topic."""
    return {topic: text(topic).partition("\n")[0].lstrip("# ") for topic in TOPICS}


def show_help(_flags: Flags, *, context: typer.Context, topic: Topic = "") -> int:
    """Print a topic, the help page of a verb, or the list of topics."""
    group = context.parent.command if context.parent else context.command
    verbs = list(getattr(group, "commands", ()))
    if topic in TOPICS:
        typer.echo(text(topic), nl=False)
    elif topic in verbs:
        command = group.get_command(context, topic)  # type: ignore[attr-defined]
        typer.echo(command.get_help(command.context_class(command, info_name=topic, parent=context.parent)))
    elif topic:
        names = [*TOPICS, *verbs]
        raise UsageError(f"{topic}: {unknown(topic, names, what='topic', otherwise='there are ' + ', '.join(TOPICS))}")
    else:
        width = max(map(len, TOPICS))
        for name, line in titles().items():
            typer.echo(f"{name:<{width}}  {line}")
    return 0
