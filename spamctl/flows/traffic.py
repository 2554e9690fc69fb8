"""Traffic: sample labelled messages, apply drift to a share of them, send them, and store the truth."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metaflow import card, current, step

from spamctl.config.traffic import TrafficOptions
from spamctl.errors import UsageError
from spamctl.flows import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spamctl.schema.traffic import Change, Counts, KeptTruth, Source, Staged, TrafficResult
    from spamctl.store.truth import TruthBook

STEPS = {
    "start": ("draw", "Draw the messages"),
    "send": ("send", "Send them, and count what comes back"),
}


class Drawn(NamedTuple):
    """Messages to send and where they are from; of a preview the pairs instead."""

    messages: Sequence[Staged]
    source: Source
    changes: Sequence[Change] = ()


class TrafficFlow(base.VerbFlow):
    """Flow that sends simulated traffic; a resumed run repeats batches under the same ids, so each counts once.

    Steps pass plain JSON values.
    """

    locals().update(base.parameters(TrafficOptions))

    @step
    def start(self) -> None:
        """See that server and store are there, then draw the messages and let a share of them drift."""
        with self.part() as options:
            if not options.preview:
                self._require_places(options)
            self.traffic_run = uuid.uuid4().hex
            self.store_name = self._store_name(options)
            from spamctl.schema.codec import to_json

            drawn = self._draw(options) if options.replay == "none" else self._replay(options)
            self.drawn, self.changes = list(map(to_json, drawn.messages)), list(map(to_json, drawn.changes))
            self.data = to_json(drawn.source)
        self.next(self.send)

    @card(type="html", id="traffic", options={"attribute": "traffic_html"})
    @step
    def send(self) -> None:
        """Send the messages in batches, write down the truth of each that was answered, and sum up."""
        from spamctl.reports import traffic
        from spamctl.schema.codec import from_json, to_json
        from spamctl.schema.traffic import Preview

        if self.changes:
            self.result: dict[str, object] = {"preview": f".spamctl/preview-{current.run_id}.json"}
            self.traffic_html = traffic.preview_page(from_json(Preview, {"preview": self.changes}))
        else:
            with self.part() as options:
                result = self._send(options)
            self.traffic_html = traffic.page(result, plots=traffic.traffic_plots(result))
            self.result = to_json(result)
        self.next(self.end)

    @step
    def end(self) -> None:
        """Emit the result; a preview goes to a file, since logs keep what is emitted and contain no message."""
        if self.changes:
            path = Path(str(self.result["preview"]))
            path.parent.mkdir(exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(json.dumps(self.changes), encoding="utf-8")
            self.left_files = base.left_files(path)
        base.result("traffic", self.result)

    @contextmanager
    def part(self) -> Iterator[TrafficOptions]:
        """Announce this step, and give its options."""
        name, title = STEPS[current.step_name]
        with base.stage(name, title, index=list(STEPS).index(current.step_name) + 1, of=len(STEPS)):
            yield self.options(TrafficOptions)

    def _require_places(self, options: TrafficOptions) -> None:
        """Refuse in a moment what would fail later: nobody listens, no such token file, a store that cannot be used."""
        from spamctl.store.database import require_usable
        from spamctl.traffic import reach

        reach.require_listening(options.target_uri)
        reach.read_token(options.token_file, os.environ)
        if options.truth:
            require_usable(options.datastore_uri)

    def _store_name(self, options: TrafficOptions) -> str:
        """Name the store of the truth: its address is no parameter, so a run that goes on must be told it again."""
        from spamctl.store.address import parse

        return parse(options.datastore_uri).name if options.truth else ""

    def _draw(self, options: TrafficOptions) -> Drawn:
        """Return messages of the dataset's test part, a share of them drifted; for a preview, the pairs instead."""
        from spamctl.data import split
        from spamctl.schema import message
        from spamctl.schema.traffic import Source
        from spamctl.traffic import drift

        found = base.read_datasets(options, may_ask=not options.preview)
        kept, unseen = split.hold_out_families(found.messages, options.hold_out_kinds)
        test = split.split(kept, options.balance).test
        source = Source(found.origin, found.sha256, message.digest(test), len(test))
        kind, strength, seed = options.drift_type, options.strength, options.seed
        if options.preview:
            pairs = drift.preview(test, count=options.preview, drift_type=kind, strength=strength, seed=seed)
            return Drawn((), source, pairs)
        if options.samples > len(test):
            base.note(f"the test part holds {len(test):,} messages: some are sent more than once")
        rows, share = options.samples, options.drift_proportion
        if kind == drift.NEW_KINDS:
            staged = drift.stream_of_new_kinds(
                test, unseen, samples=rows, strength=strength, proportion=share, seed=seed
            )
        else:
            staged = drift.stream(test, samples=rows, drift_type=kind, strength=strength, proportion=share, seed=seed)
        return Drawn(staged, source)

    def _replay(self, options: TrafficOptions) -> Drawn:
        """Return a user's own messages."""
        from spamctl.data import corpus
        from spamctl.schema.traffic import Source
        from spamctl.traffic import results

        read = corpus.read_replay(corpus.ReplayRequest(options.replay, options.truth, **asdict(base.layout(options))))
        rows = read.rows[: options.samples]
        first = "all" if len(rows) == len(read.rows) else f"the first {len(rows):,} (--samples) of"
        base.tell([*read.notes, f"{first} {len(read.rows):,} messages of {options.replay}"])
        return Drawn(results.replayed(rows), Source(options.replay))

    def _send(self, options: TrafficOptions) -> TrafficResult:
        """Send all batches and return the result."""
        from spamctl.schema.codec import from_json
        from spamctl.schema.traffic import Staged
        from spamctl.traffic import client, reach, results

        if self.store_name != (now := self._store_name(options)):
            raise UsageError(
                f"{now}: the run keeps its truth in {self.store_name}; set SPAMCTL_TRAFFIC_DATASTORE_URI to it"
            )
        reach.require_listening(options.target_uri)
        drawn = [from_json(Staged, one) for one in self.drawn]
        counted = results.Tally(results.known_samples(drawn), options.batch_size)
        cut = results.split_batches(drawn, options.batch_size, self.traffic_run)
        token = reach.read_token(options.token_file, os.environ)
        target = client.Target(options.target_uri, token, options.timeout, options.retries)
        progress = base.Progress("sending", total=len(drawn), unit="messages")
        began = time.monotonic()
        with (
            self._book(options) as book,
            closing(client.send(cut, target, client.Pace(options.concurrency, options.rate))) as outcomes,
        ):
            for outcome in outcomes:
                answered = counted.add(outcome)
                if book:
                    book.add(results.true_rows(drawn, answered, options.seed, self.traffic_run))
                progress.reach(counted.messages)
        return self._result(options, counted.summary(time.monotonic() - began))

    def _result(self, options: TrafficOptions, counts: Counts) -> TrafficResult:
        """Put together what came back, what was sent, and where its truth is kept."""
        from spamctl.schema.codec import from_json
        from spamctl.schema.traffic import Drift, Source, TrafficResult
        from spamctl.traffic import reach

        return TrafficResult(
            samples=counts.samples,
            sent=counts.sent,
            answered=counts.answered,
            captured=counts.captured,
            refused=counts.refused,
            garbled=counts.garbled,
            unanswered=counts.unanswered,
            repeated=counts.repeated,
            versions=counts.versions,
            latency_ms=counts.latency_ms,
            seconds=counts.seconds,
            spam_share=counts.spam_share,
            true_spam_share=counts.true_spam_share,
            judged=counts.judged,
            scores=counts.scores,
            groups=counts.groups,
            target=options.target_uri,
            start=reach.start_of(options.target_uri),
            data=from_json(Source, self.data),
            drift=Drift(options.drift_type, options.drift_proportion, options.strength, options.seed),
            run=self.traffic_run,
            truth=self._kept(options, counts.captured) if options.truth else None,
        )

    @contextmanager
    def _book(self, options: TrafficOptions) -> Iterator[TruthBook | None]:
        """Open the store and a book of truth in it, unless none is to be kept."""
        from spamctl.store.database import open_store
        from spamctl.store.truth import TruthBook

        if not options.truth:
            yield None
            return
        with open_store(options.datastore_uri, create=True) as store, TruthBook(store) as book:
            yield book

    def _kept(self, options: TrafficOptions, captured: int) -> KeptTruth:
        """Return how many truths this run keeps, and say if the store lacks answers that they belong to."""
        from spamctl.schema.traffic import KeptTruth
        from spamctl.store import truth
        from spamctl.store.database import open_store

        with open_store(options.datastore_uri) as store:
            rows, joined = truth.count(store, self.traffic_run)
            name = store.address.name
        if rows and joined < captured:
            base.warning(
                f"{name} holds {joined:,} of the {captured:,} captured answers: the server keeps them elsewhere; "
                "give --datastore-uri as the server has it"
            )
        return KeptTruth(name, rows, joined)


if __name__ == "__main__":
    TrafficFlow()
