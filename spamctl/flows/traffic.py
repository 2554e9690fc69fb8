"""Traffic: sample labelled messages, apply drift to a share of them, send them, and store the truth."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from metaflow import card, current, step

from spamctl.config.traffic import TrafficOptions
from spamctl.errors import UsageError
from spamctl.flows import base

if TYPE_CHECKING:
    from spamctl.store.truth import TruthBook

STEPS = {
    "start": ("draw", "Draw the messages"),
    "send": ("send", "Send them, and count what comes back"),
}

# The messages, where they are from, and the pairs of a preview.
Drawn: TypeAlias = "tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]]]"


class TrafficFlow(base.VerbFlow):
    """Flow that sends simulated traffic; a resumed run repeats batches under the same ids, so each counts once."""

    locals().update(base.parameters(TrafficOptions))

    @step
    def start(self) -> None:
        """See that server and store are there, then draw the messages and let a share of them drift."""
        with self.part() as options:
            if not options.preview:
                self._require_places(options)
            self.traffic_run = uuid.uuid4().hex
            self.store_name = self._store_name(options)
            self.drawn, self.data, self.changes = (
                self._draw(options) if options.replay == "none" else self._replay(options)
            )
        self.next(self.send)

    @card(type="html", id="traffic", options={"attribute": "traffic_html"})
    @step
    def send(self) -> None:
        """Send the messages in batches, write down the truth of each that was answered, and sum up."""
        from spamctl.reports import traffic

        if self.changes:
            self.result: dict[str, Any] = {"preview": f".spamctl/preview-{current.run_id}.json"}
            self.traffic_html = traffic.preview_page(self.changes)
        else:
            with self.part() as options:
                self.result = self._send(options)
            self.traffic_html = traffic.page(self.result, plots=traffic.traffic_plots(self.result))
        self.next(self.end)

    @step
    def end(self) -> None:
        """Emit the result; a preview goes to a file, since logs keep what is emitted and contain no message."""
        if self.changes:
            path = Path(self.result["preview"])
            path.parent.mkdir(exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(json.dumps(self.changes), encoding="utf-8")
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
        from spamctl.traffic import client

        client.require_listening(options.target_uri)
        client.read_token(options.token_file)
        if options.truth:
            require_usable(options.datastore_uri)

    def _store_name(self, options: TrafficOptions) -> str:
        """Name the store of the truth: its address is no parameter, so a run that goes on must be told it again."""
        from spamctl.store.address import parse

        return parse(options.datastore_uri).name if options.truth else ""

    def _draw(self, options: TrafficOptions) -> Drawn:
        """Return messages of the dataset's test part, a share of them drifted; for a preview, the pairs instead."""
        from spamctl.data import corpus, split
        from spamctl.schema import parts
        from spamctl.traffic import drift

        asked = {name: getattr(options, name) for name in corpus.CorpusRequest.__slots__}
        found = corpus.read_datasets(corpus.CorpusRequest(**asked), may_ask=not options.preview)
        base.tell([f"messages from {found.origin}", *found.notes], found.warnings)
        kept, unseen = split.hold_out_families(found.messages, options.hold_out_kinds)
        test = split.split(kept, options.balance).test
        source = {"origin": found.origin, "sha256": found.sha256, "test_sha256": parts.digest(test), "test": len(test)}
        dose: dict[str, Any] = {name: getattr(options, name) for name in ("drift_type", "strength", "seed")}
        if options.preview:
            return [], source, [asdict(change) for change in drift.preview(test, count=options.preview, **dose)]
        if options.samples > len(test):
            base.note(f"the test part holds {len(test):,} messages: some are sent more than once")
        asked_for: dict[str, Any] = {"samples": options.samples, "proportion": options.drift_proportion}
        if dose.pop("drift_type") == drift.NEW_KINDS:
            staged = drift.stream_of_new_kinds(test, unseen, **asked_for, **dose)
        else:
            staged = drift.stream(test, drift_type=options.drift_type, **asked_for, **dose)
        return [asdict(one) for one in staged], source, []

    def _replay(self, options: TrafficOptions) -> Drawn:
        """Return a user's own messages."""
        from spamctl.data import corpus
        from spamctl.traffic import results

        asked = {name: getattr(options, name) for name in corpus.ReplayRequest.__slots__}
        read = corpus.read_replay(corpus.ReplayRequest(**asked))
        rows = read.rows[: options.samples]
        first = "all" if len(rows) == len(read.rows) else f"the first {len(rows):,} (--samples) of"
        base.tell([*read.notes, f"{first} {len(read.rows):,} messages of {options.replay}"])
        return results.replayed(rows), {"origin": options.replay}, []

    def _send(self, options: TrafficOptions) -> dict[str, Any]:
        """Send all batches and return the result."""
        from spamctl.traffic import client, results

        if self.store_name != (now := self._store_name(options)):
            raise UsageError(
                f"{now}: the run keeps its truth in {self.store_name}; set SPAMCTL_TRAFFIC_DATASTORE_URI to it"
            )
        client.require_listening(options.target_uri)
        counted = results.Tally(results.known_samples(self.drawn), options.batch_size)
        cut = results.split_batches(self.drawn, options.batch_size, self.traffic_run)
        token = client.read_token(options.token_file)
        target = client.Target(options.target_uri, token, options.timeout, options.retries)
        progress = base.Progress("sending", total=len(self.drawn), unit="messages")
        began = time.monotonic()
        with (
            self._book(options) as book,
            closing(client.send(cut, target, client.Pace(options.concurrency, options.rate))) as outcomes,
        ):
            for outcome in outcomes:
                answered = counted.add(outcome)
                if book:
                    book.add(results.true_rows(self.drawn, answered, options.seed, self.traffic_run))
                progress.reach(counted.messages)
        summary = counted.summary(time.monotonic() - began)
        asked = {name: getattr(options, name) for name in ("drift_type", "drift_proportion", "strength", "seed")}
        told = {
            "target": options.target_uri,
            "start": client.start_of(options.target_uri),
            "data": self.data,
            "drift": asked,
            "run": self.traffic_run,
        }
        kept = self._kept(options, summary["captured"]) if options.truth else {}
        return summary | told | {"truth": kept}

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

    def _kept(self, options: TrafficOptions, captured: int) -> dict[str, Any]:
        """Return how many truths this run keeps, and say if the store lacks answers that they belong to."""
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
        return {"store": name, "rows": rows, "joined": joined}


if __name__ == "__main__":
    TrafficFlow()
