"""Copy the cards of finished runs: `python -m spamctl.jobs.cards reports/cards train label`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from metaflow import Flow, namespace
from metaflow.cards import get_cards
from metaflow.plugins.cards.exception import CardNotPresentException


def main(target: Path, verbs: list[str]) -> None:
    """Write each card as `train-1-evaluation.html`, where 1 is the verb's first run in this folder."""
    target.mkdir(parents=True, exist_ok=True)
    namespace(None)
    for verb in verbs:
        runs = [run for run in Flow(f"{verb.title()}Flow") if run.successful]
        for number, run in enumerate(reversed(runs), start=1):
            for name, html in _cards(run):
                (target / f"{verb}-{number}-{name}.html").write_text(html, encoding="utf-8")


def _cards(run: object) -> Iterator[tuple[str, str]]:
    """Yield the name and the page of each card of a run, in the order of its steps."""
    for step in reversed(list(run)):  # type: ignore[call-overload]
        for task in step:
            with contextlib.suppress(CardNotPresentException):
                for card in get_cards(task):
                    yield card.id or step.id, card.get()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
