"""Score: find the version, read through the messages, score them with the serving engine, and write the verdicts."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaflow import card, current, step

from spamctl.config.options import COPIES
from spamctl.config.score import ScoreOptions
from spamctl.errors import UsageError
from spamctl.flows import base
from spamctl.schema.codec import to_json
from spamctl.schema.score import ScoreResult

if TYPE_CHECKING:
    from spamctl.data.score_input import InputRequest, Survey
    from spamctl.data.score_parts import Fingerprint
    from spamctl.serving.bulk import ScoreJob

STEPS = {
    "start": ("read", "Find the version, and read through the messages"),
    "end": ("score", "Score the messages"),
}
NONE = "none"
_ROWS = ("text_column", "label_column", "spam_label", "spam_folder", "header", "encoding", "with_text", "out_of_reach")


class ScoreFlow(base.VerbFlow):
    """Flow that scores messages; steps pass counts and the version, and the messages stay where they are."""

    locals().update(base.parameters(ScoreOptions))

    @step
    def start(self) -> None:
        """Refuse what cannot be written, fetch the version, and read all of the input once."""
        self.began = time.time()
        with self.part() as options:
            from spamctl.data import score_input
            from spamctl.engine.manifest import UNSEALED
            from spamctl.registry import versions
            from spamctl.serving import registry_watcher

            self._check_places(options)
            found = versions.fetch(options.model_name, options.model_version, COPIES.absolute())
            if found.remembered:
                base.warning(f"the registry does not answer: version {found.version} was {options.model_version} then")
            if not found.sealed:
                base.warning(f"{found.name} version {found.version}: {UNSEALED}")
            self.release = to_json(registry_watcher.release(found))
            surveyed = score_input.survey(_request(options))
            if options.into_maildir != NONE and surveyed.mails < surveyed.rows:
                raise UsageError(
                    f"--into-maildir {options.into_maildir}: {options.messages} holds no mails: use --output for rows"
                )
            base.tell(surveyed.notes)
            base.note(f"{surveyed.rows:,} {'message' if surveyed.rows == 1 else 'messages'}")
            self.survey = asdict(surveyed)
        self.next(self.end)

    @card(type="html", id="score", options={"attribute": "score_html"})
    @step
    def end(self) -> None:
        """Score what is not scored yet, write it, and sum up."""
        with self.part() as options:
            from spamctl.data.score_input import Survey
            from spamctl.reports import scoring

            surveyed = Survey(**self.survey)
            result = replace(self._score(options, surveyed), seconds=time.time() - self.began)
            self.score_html = scoring.page(result)
            self.result = to_json(result)
            self.left_files = base.left_files(*map(Path, (result.left, result.output, result.maildir)))
        base.result("score", self.result)

    @contextmanager
    def part(self) -> Iterator[ScoreOptions]:
        """Announce this step, and give its options."""
        name, title = STEPS[current.step_name]
        with base.stage(name, title, index=list(STEPS).index(current.step_name) + 1, of=len(STEPS)):
            yield self.options(ScoreOptions)

    def _check_places(self, options: ScoreOptions) -> None:
        """Refuse within a moment an output that cannot be made, and a store that cannot be used."""
        from spamctl.data import score_output
        from spamctl.store.database import require_usable

        if options.output != NONE:
            score_output.check_target(Path(options.output), overwrite=options.overwrite or options.resume)
        if options.capture != NONE:
            require_usable(options.capture)

    def _score(self, options: ScoreOptions, surveyed: Survey) -> ScoreResult:
        """Score all messages, write what is asked for, and return the result."""
        from spamctl.data import score_input
        from spamctl.registry import versions
        from spamctl.schema.serve import Release
        from spamctl.serving.bulk import BulkScorer, ScoreJob, ScoreTally
        from spamctl.store import text_locations

        release = versions.at_hand(Release(**self.release), COPIES.absolute())
        scorer = BulkScorer(release, threads=options.threads, out_of_reach=options.out_of_reach)
        tally = ScoreTally(options.order, options.show)
        job = ScoreJob(_request(options), surveyed, scorer, tally, with_text=options.with_text)
        with contextlib.ExitStack() as stack:
            stack.callback(scorer.close)
            self._open_targets(job, options, stack)
            before = base.follow(job.run())
            if options.with_text:  # before the file is there: spamctl forget looks for it from now on
                text_locations.remember_place(text_locations.EXPORT, Path(options.output))
            if options.output != NONE:
                job.write(Path(options.output), overwrite=options.overwrite)
            if job.parts:
                job.parts.remove()
        return ScoreResult(
            release=scorer.release,
            threshold=scorer.threshold,
            input=options.messages,
            messages=surveyed.rows,
            counts=dict(tally.counts),
            scores=tally.scores(),
            labelled=dict(tally.labelled),
            unreadable=score_input.described(surveyed.counts, surveyed.faults),
            continued=before,
            output=options.output,
            maildir=options.into_maildir,
            captured=self._store_name(options),
            left=_left_for_terminal({"shown": to_json(tally.shown), "explained": to_json(job.explained)}),
        )

    def _open_targets(self, job: ScoreJob, options: ScoreOptions, stack: contextlib.ExitStack) -> None:
        """Open what the verdicts go to: parts of an output, a Maildir, a store."""
        from spamctl.data.score_output import Maildir
        from spamctl.data.score_parts import Parts, place_of
        from spamctl.serving.bulk import Capturer

        run = secrets.token_hex(8)
        if options.writes:
            place = place_of(options.output, options.into_maildir)
            made_of = self._fingerprint(options, job)
            job.parts = stack.enter_context(Parts(place, made_of, resume=options.resume, overwrite=options.overwrite))
            run = job.parts.run
        if options.into_maildir != NONE:
            job.maildir = Maildir(Path(options.into_maildir), run)
        if options.capture != NONE:
            job.capturer = Capturer(options.capture, job.scorer, run)
            stack.callback(job.capturer.close)

    def _fingerprint(self, options: ScoreOptions, job: ScoreJob) -> Fingerprint:
        """Return what the rows of the output are made of."""
        from spamctl.data.score_parts import Fingerprint

        told = {name: getattr(options, name) for name in _ROWS} | {"store": self._store_name(options)}
        release = job.scorer.release
        return Fingerprint(
            job.survey.sha256, f"{release.name} {release.version}", job.scorer.digest, json.dumps(told, sort_keys=True)
        )

    def _store_name(self, options: ScoreOptions) -> str:
        from spamctl.store.address import parse

        return parse(options.capture).name if options.capture != NONE else ""


def _request(options: ScoreOptions) -> InputRequest:
    from spamctl.data.score_input import InputRequest

    return InputRequest(**{name: getattr(options, name) for name in InputRequest.__slots__})


def _left_for_terminal(told: Mapping[str, Any]) -> str:
    """Leave what holds words of messages in a file for us alone: logs keep what is told, and carry no message."""
    path = Path(".spamctl", f"score-{current.run_id}.json")
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(told), encoding="utf-8")
    return str(path)


if __name__ == "__main__":
    ScoreFlow()
