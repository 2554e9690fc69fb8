"""Score: find the version, read through the messages, score them with the serving engine, and write the verdicts.

An output that is one file is scored by the step `end`. For one that is a folder, `start` plans shards, and the workers
of the step `shard` score them side by side: processes of this machine, or wherever Metaflow is told to run steps.
"""

from __future__ import annotations

import contextlib
import json
import os
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
from spamctl.cores import cores
from spamctl.errors import UsageError
from spamctl.flows import base
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.score import ScoreResult, ShardSummary

if TYPE_CHECKING:
    from spamctl.data.score_input import InputRequest, Survey
    from spamctl.data.score_output import Fingerprint
    from spamctl.schema.serve import Release
    from spamctl.serving.bulk import ScoreJob

STEPS = {
    "start": ("read", "Find the version, and read through the messages"),
    "end": ("score", "Score the messages"),
}
NONE = "none"
FILE, PARTS = "file", "parts"  # what an output is
_ELSEWHERE = (
    "METAFLOW_KUBERNETES_WORKLOAD",
    "AWS_BATCH_JOB_ID",
)  # variables of steps that have a machine to themselves
_ROWS = ("text_column", "label_column", "spam_label", "spam_folder", "header", "encoding", "with_text", "out_of_reach")


class ScoreFlow(base.VerbFlow):
    """Flow that scores messages; steps pass counts and the version, and the messages stay where they are."""

    locals().update(base.parameters(ScoreOptions))

    @step
    def start(self) -> None:
        """Refuse what cannot be written, fetch the version, and read all of the input once: for a survey, or a plan."""
        self.began = time.time()
        with self.part() as options:
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
            self.way = PARTS if options.writes_parts else FILE
            if self.way == PARTS:
                self._plan(options)
            else:
                self._survey(options)
        self.next({"file": self.end, "parts": self.split}, condition="way")  # literals: Metaflow reads them

    @step
    def split(self) -> None:
        """Divide the shards among the workers."""
        with self.part() as options:
            self.tasks = list(range(min(options.workers, self.shards)))
        self.next(self.shard, foreach="tasks")

    @step
    def shard(self) -> None:
        """Score the shards of one worker; what a part holds already is skipped."""
        with base.reporting("score"):
            self.threshold, summary = self._score_shards(self.options(ScoreOptions), self.input, len(self.tasks))
            self.summary = to_json(summary)
        self.next(self.gather)

    @step
    def gather(self, inputs: Any) -> None:
        """Add up what the workers have counted."""
        with base.reporting("score"):
            from spamctl.serving.bulk import combined

            first = inputs[0]
            self.way, self.began, self.release, self.shards = first.way, first.began, first.release, first.shards
            self.tasks, self.threshold = first.tasks, first.threshold
            self.summary = to_json(combined(from_json(ShardSummary, one.summary) for one in inputs))
        self.next(self.end)

    @card(type="html", id="score", options={"attribute": "score_html"})
    @step
    def end(self) -> None:
        """Score what is not scored yet, write it, and sum up."""
        announced = self.part() if self.way == FILE else contextlib.nullcontext(self.options(ScoreOptions))
        with announced as options, base.reporting("score"):
            from spamctl.data.score_input import Survey
            from spamctl.reports import scoring

            done = self._score(options, Survey(**self.survey)) if self.way == FILE else self._sum_up(options)
            result = replace(done, seconds=time.time() - self.began)
            self.score_html = scoring.page(result)
            self.result = to_json(result)
            self.left_files = base.left_files(
                *(Path(one) for one in (result.left, result.output, result.maildir) if one)
            )
            if self.way == PARTS:
                from spamctl.data.shard_output import PartFolder

                PartFolder(options.output).report(to_json(replace(result, left="")))
        base.result("score", self.result)

    @contextmanager
    def part(self) -> Iterator[ScoreOptions]:
        """Announce this step, and give its options."""
        step_name = current.step_name if current.step_name in STEPS else "end"
        name, title = STEPS[step_name]
        with base.stage(name, title, index=list(STEPS).index(step_name) + 1, of=len(STEPS)):
            yield self.options(ScoreOptions)

    def _survey(self, options: ScoreOptions) -> None:
        """Read through an input that is scored in one go."""
        from spamctl.data import score_input

        surveyed = score_input.survey(_request(options))
        if options.into_maildir != NONE and surveyed.mails < surveyed.rows:
            raise UsageError(
                f"--into-maildir {options.into_maildir}: {options.messages} holds no mails: use --output for rows"
            )
        base.tell(surveyed.notes)
        base.note(f"{surveyed.rows:,} {'message' if surveyed.rows == 1 else 'messages'}")
        self.survey = asdict(surveyed)

    def _plan(self, options: ScoreOptions) -> None:
        """Cut an input into shards, or find those of the interrupted run; they are kept beside the parts."""
        from spamctl.data import shards
        from spamctl.data.shard_output import PartFolder
        from spamctl.schema.serve import Release
        from spamctl.store import text_locations

        release, output = Release(**self.release), PartFolder(options.output)
        made_of = self._fingerprint(options, "", release)
        planned = shards.plan(_request(options), int(options.part_size * 2**20), json.dumps(asdict(made_of)))
        begun = output.begin(replace(made_of, input=planned.sha256), planned, overwrite=options.overwrite)
        self.shards = len(begun.plan.shards)
        if options.with_text:
            for one in begun.plan.shards:
                text_locations.remember_place(text_locations.EXPORT, Path(output.name_of(one)))
        base.tell(begun.plan.notes)
        base.note(f"{self.shards:,} {'part' if self.shards == 1 else 'parts'} in {options.output}")

    def _score_shards(self, options: ScoreOptions, worker: int, workers: int) -> tuple[float, ShardSummary]:
        """Score the shards of a worker; return the threshold, and what was counted."""
        from spamctl.data.shard_output import PartFolder
        from spamctl.serving.bulk import BulkScorer, ShardJob

        output = PartFolder(options.output)
        own = output.begun.plan.shards[worker::workers]
        task = "scoring" if workers == 1 else f"scoring, worker {worker + 1}"
        alone = any(map(os.environ.get, _ELSEWHERE))
        threads = options.threads or (0 if alone else max(1, cores() // workers))
        scorer = BulkScorer(self._release_here(), threads=threads, out_of_reach=options.out_of_reach)
        with contextlib.closing(scorer):
            store = "" if options.capture == NONE else options.capture
            job = ShardJob(_request(options), own, scorer, output, task)
            return scorer.threshold, base.follow(replace(job, store=store, with_text=options.with_text).run())

    def _release_here(self) -> Release:
        """Return the release with the folder that its package has on this machine, fetched if it has none."""
        from spamctl.registry import versions
        from spamctl.schema.serve import Release

        return versions.at_hand(Release(**self.release), COPIES.absolute())

    def _sum_up(self, options: ScoreOptions) -> ScoreResult:
        """Return the result of all shards."""
        from spamctl.data import score_input
        from spamctl.schema.serve import Release
        from spamctl.serving.bulk import ScoreTally

        summary, tally = from_json(ShardSummary, self.summary), ScoreTally(options.order, 0)
        tally.merge(summary.verdicts)
        return ScoreResult(
            release=Release(**self.release),
            threshold=self.threshold,
            input=options.messages,
            messages=summary.rows,
            counts=dict(tally.counts),
            scores=tally.scores(),
            labelled=dict(tally.labelled),
            unreadable=score_input.described(summary.faults, {fault: [*at] for fault, at in summary.places.items()}),
            continued=summary.continued,
            output=options.output,
            maildir=NONE,
            captured=self._store_name(options),
            media=summary.verdicts.media,
            parts=self.shards,
            workers=len(self.tasks),
        )

    def _check_places(self, options: ScoreOptions) -> None:
        """Refuse within a moment an output that cannot be made, and a store that cannot be used."""
        from spamctl.data import score_output
        from spamctl.data.shard_output import PartFolder
        from spamctl.store.database import require_usable

        if options.writes_parts:
            PartFolder(options.output).check(resume=options.resume, overwrite=options.overwrite)
        elif options.output != NONE:
            score_output.check_target(Path(options.output), overwrite=options.overwrite or options.resume)
        if options.capture != NONE:
            require_usable(options.capture)

    def _score(self, options: ScoreOptions, surveyed: Survey) -> ScoreResult:
        """Score all messages, write what is asked for, and return the result."""
        from spamctl.data import score_input
        from spamctl.serving.bulk import BulkScorer, ScoreJob, ScoreTally
        from spamctl.store import text_locations

        scorer = BulkScorer(self._release_here(), threads=options.threads, out_of_reach=options.out_of_reach)
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
            media={medium: dict(counts) for medium, counts in tally.media.items()},
        )

    def _open_targets(self, job: ScoreJob, options: ScoreOptions, stack: contextlib.ExitStack) -> None:
        """Open what the verdicts go to: parts of an output, a Maildir, a store."""
        from spamctl.data.score_output import Maildir, Parts, place_of
        from spamctl.serving.bulk import Capturer

        run = secrets.token_hex(8)
        if options.writes:
            place = place_of(options.output, options.into_maildir)
            made_of = self._fingerprint(
                options, job.survey.sha256, replace(job.scorer.release, digest=job.scorer.digest)
            )
            job.parts = stack.enter_context(Parts(place, made_of, resume=options.resume, overwrite=options.overwrite))
            run = job.parts.run
        if options.into_maildir != NONE:
            job.maildir = Maildir(Path(options.into_maildir), run)
        if options.capture != NONE:
            job.capturer = Capturer(options.capture, job.scorer, run)
            stack.callback(job.capturer.close)

    def _fingerprint(self, options: ScoreOptions, sha256: str, release: Release) -> Fingerprint:
        """Return what the rows of the output are made of; `sha256` is that of the input."""
        from spamctl.data.score_output import Fingerprint

        told = {name: getattr(options, name) for name in _ROWS} | {"store": self._store_name(options)}
        return Fingerprint(
            sha256, f"{release.name} {release.version}", release.digest, json.dumps(told, sort_keys=True)
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
