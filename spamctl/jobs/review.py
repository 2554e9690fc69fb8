"""Ask a person about one message after the other, and write each decision at once: `python -m spamctl.jobs.review`.

It is no flow: a step has no terminal. The command at the terminal starts it, sends the options as the first line of
JSON and an answer as each further one, and reads questions; the pipe ends when the person does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from spamctl.config.label import LabelOptions
from spamctl.config.options import date_of_age
from spamctl.errors import SpamctlError

if TYPE_CHECKING:
    from spamctl.data.cleaning import Question
    from spamctl.schema.message import ReviewQuestion
    from spamctl.serving.explain import Reasons
    from spamctl.store.database import Store
    from spamctl.store.labels import Decision
    from spamctl.store.queries import Window
    from spamctl.store.tables import StoredRow

MODELS = Path(".spamctl", "models")  # where the server keeps copies of the versions that it served
MOST_ROWS = 20_000  # that one sitting looks at: nobody answers more, and all of them are in memory
PATIENCE_S = 60.0


@dataclass
class ReviewSession:
    """Questions and decisions of one review session."""

    store: Store
    options: LabelOptions
    asked: int = 0
    taken: int = 0  # labelled by others while this sitting went on
    decisions: list[tuple[int, Decision | None]] = field(default_factory=list)

    def sit(self, answers: Iterator[str]) -> None:
        """Ask until the questions, or the answers, come to an end."""
        from spamctl.schema.codec import to_json
        from spamctl.schema.message import ReviewCounts

        questions, place = list(self._questions()), 0
        self.asked = len(questions)
        while place < len(questions):
            question, replace = questions[place]
            row = self._standing(question, replace=replace)
            if row is None:
                self.taken += 1
                place += 1
                continue
            tell("question", **to_json(self._shown(question, row, place, replace=replace)))
            answer = next(answers, "quit")
            if answer == "quit":
                break
            place = self._undo(place) if answer == "undo" else self._settle(question, place, answer, replace=replace)
        made = [decision for _, decision in self.decisions if decision]
        labelled = sum(len(decision.before) for decision in made)
        counts = ReviewCounts(self.asked, len(made), labelled, self.taken, self.options.annotator)
        tell("end", **to_json(counts))

    @cached_property
    def _reasons(self) -> Reasons:
        """Find the words behind verdicts."""
        from spamctl.serving.explain import Reasons

        return Reasons(MODELS)

    def _questions(self) -> Iterator[tuple[Question, bool]]:
        """Yield what to ask, at most as much as was asked for, with whether a label that stands is to be replaced."""
        from itertools import islice

        from spamctl.data.cleaning import cluster, questions
        from spamctl.store import labels

        window = self._window()
        if self.options.second_opinion:
            rows = labels.awaiting_second(self.store, window, self.options.annotator, MOST_ROWS)
            found = [(question, True) for question in questions((row.uuid, row.text) for row in rows)]
        else:
            suspected = self._suspected(window) if self.options.suspects else []
            settled = {cluster(text) for text in labels.judged_texts(self.store)}
            settled |= {cluster(question.text) for question in suspected}
            doubtful = [
                (row.uuid, row.text) for row in labels.most_doubtful(self.store, self._window(False), MOST_ROWS)
            ]
            found = [(question, True) for question in suspected]
            found += [(question, False) for question in questions(doubtful, settled)]
        return islice(found, self.options.limit or None)

    def _suspected(self, window: Window) -> list[Question]:
        """Return labelled rows whose label the probabilities contradict, the least credible first."""
        from spamctl.data.cleaning import questions
        from spamctl.metrics.label_quality import suspects
        from spamctl.schema.message import REVIEW
        from spamctl.store import labels, queries

        scored = labels.scored_labels(self.store, window)
        places = suspects([row.probability for row in scored], [row.label for row in scored])
        uuids = [scored[place].uuid for place in places if scored[place].source != REVIEW][:MOST_ROWS]
        rows = queries.find(self.store, uuids)
        return questions((uuid, rows[uuid].text) for uuid in uuids if uuid in rows)

    def _standing(self, question: Question, *, replace: bool) -> StoredRow | None:
        """Return the first row of a question as it is now, or None if it needs no answer any more."""
        from spamctl.store import queries

        row = queries.find(self.store, question.uuids[:1]).get(question.uuids[0])
        return row if row and (replace or row.ground_truth is None) else None

    def _settle(self, question: Question, place: int, answer: str, *, replace: bool) -> int:
        """Write a decision, or nothing if it was skipped, and go on."""
        from spamctl.schema.message import NOT_SPAM, SPAM, Label
        from spamctl.store import labels

        decision = None
        if answer != "skip":
            label: Label = SPAM if answer == SPAM else NOT_SPAM
            decision = labels.record_decision(
                self.store, question.uuids, label, self.options.annotator, replace=replace
            )
        self.decisions.append((place, decision))
        return place + 1

    def _undo(self, place: int) -> int:
        """Take the last answer back, and return to its question."""
        from spamctl.store import labels

        if not self.decisions:
            return place
        place, decision = self.decisions.pop()
        if decision:
            labels.take_back(self.store, decision)
        return place

    def _shown(self, question: Question, row: StoredRow, place: int, *, replace: bool) -> ReviewQuestion:
        """Return what a person sees of a question; a second opinion is asked for without the first."""
        from spamctl.schema.message import ReviewQuestion

        stands = replace and not self.options.second_opinion
        return ReviewQuestion(
            text=row.text,
            classification=row.classification,
            probability=row.probability,
            threshold=row.threshold,
            model_version=row.model_version,
            in_reach=row.in_reach,
            number=place + 1,
            of=self.asked,
            copies=len(question.uuids) - 1,
            twins=question.twins,
            words=self._reasons.words(row.model_name, row.model_version, row.text, row.package_sha256 or ""),
            stands=f"{row.ground_truth} by {row.label_source}" if stands else "",
        )

    def _window(self, labelled: bool | None = None) -> Window:  # noqa: FBT001 - as in Window
        """Choose the rows that were asked for."""
        from spamctl.store.queries import Window

        now = datetime.now(UTC)
        since = date_of_age(self.options.since, now)
        version = None if self.options.where_version == "any" else self.options.where_version
        return Window(since, now, version, labelled)


def tell(kind: str, **fields: object) -> None:
    """Write one line of ASCII JSON to whoever sits at the terminal."""
    print(json.dumps({"review": kind, **fields}), flush=True)


def main() -> None:
    """Sit at the store that the first line names, until the last answer."""
    options = LabelOptions(**json.loads(sys.stdin.readline()))
    try:
        from spamctl.store.database import open_store

        with open_store(options.target_uri, patience_s=PATIENCE_S) as store:
            ReviewSession(store, options).sit(json.loads(line)["answer"] for line in sys.stdin)
    except SpamctlError as refusal:
        tell("refusal", text=str(refusal), exit_code=refusal.exit_code)


if __name__ == "__main__":
    main()
