"""Label: find the rows without a label, label them, and say from where; or export what has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from metaflow import card, current, step

from spamctl.config.label import LabelOptions
from spamctl.config.options import date_of_age, duration
from spamctl.flows import base

if TYPE_CHECKING:
    from spamctl.schema.message import Action, LabelResult
    from spamctl.store.database import Store
    from spamctl.store.queries import Window

STEPS = {
    "start": ("find", "Find the rows"),
    "end": ("label", "Label them"),
}
TITLES = {
    "file": "Label them from the file",
    "review": "Count what was decided",
    "export": "Write the labelled rows",
}
PATIENCE_S = 60.0  # for the store's one lock, which a busy server and another labelling take too


class LabelFlow(base.VerbFlow):
    """Flow that labels the rows of a store; steps pass counts only, and the rows stay in the store."""

    locals().update(base.parameters(LabelOptions))

    @step
    def start(self) -> None:
        """Open the store, and count what is asked for; what arrives later is for the next time."""
        self.began = datetime.now(UTC).isoformat()
        with self.part() as (options, store):
            from spamctl.store import queries

            self.rows = queries.count(store, self._window(options))
            self.found = queries.count(store, self._window(options, labelled=False))
            base.note(f"{self.rows:,} rows, {self.found:,} of them without a label, in {store.address.name}")
        self.next(self.end)

    @card(type="html", id="labels", options={"attribute": "labels_html"})
    @step
    def end(self) -> None:
        """Do what was asked for, and count what stands in the store then."""
        with self.part() as (options, store):
            from spamctl.reports import label
            from spamctl.schema.codec import to_json
            from spamctl.schema.message import LabelResult
            from spamctl.store import queries

            work = {
                "predictions": self._imitate,
                "truth": self._reveal,
                "file": self._copy,
                "review": self._compare,
                "export": self._export,
            }
            action = action_of(options)
            done = work[action](LabelResult(action, store.address.name, self.rows, self.found), options, store)
            result = replace(
                done,
                left=queries.count(store, self._window(options, labelled=False)),
                sources=tuple(queries.by_source(store, self._window(options))),
            )
            base.tell((), label.warnings(result))
            self.labels_html = label.page(result)
            self.left_files = base.left_files(Path(options.export))
            self.result = to_json(result)
        base.result("label", self.result)

    @contextmanager
    def part(self) -> Iterator[tuple[LabelOptions, Store]]:
        """Announce this step, give its options, and open the store."""
        from spamctl.store.database import open_store

        name, title = STEPS[current.step_name]
        with base.stage(name, self._title(title), index=list(STEPS).index(current.step_name) + 1, of=len(STEPS)):
            options = self.options(LabelOptions)
            if current.step_name == "start":
                _check_files(options)
            with open_store(options.target_uri, patience_s=PATIENCE_S) as store:
                yield options, store

    def _title(self, title: str) -> str:
        """Describe what this run does in its second step."""
        if current.step_name == "start":
            return title
        return TITLES.get("export" if self.export != "none" else self.source, title)

    def _window(self, options: LabelOptions, *, labelled: bool | None = None) -> Window:
        """Choose the rows that were asked for, up to the moment at which the run began."""
        from spamctl.store.queries import Window

        began = datetime.fromisoformat(self.began)
        since = date_of_age(options.since, began)
        version = None if options.where_version == "any" else options.where_version
        return Window(since, began, version, labelled)

    def _most(self, options: LabelOptions, rows: int) -> int:
        """Return how many rows may be labelled."""
        return min(options.limit, rows) if options.limit else rows

    def _imitate(self, begun: LabelResult, options: LabelOptions, store: Store) -> LabelResult:
        """Label rows from their verdicts."""
        from spamctl.traffic import labels

        rule = labels.Imitation(options.ground_truth_quality, options.seed)
        work = labels.label_by_verdict(store, self._window(options), rule, self._most(options, self.found))
        return replace(begun, labelled=base.follow(work), quality=options.ground_truth_quality)

    def _reveal(self, begun: LabelResult, options: LabelOptions, store: Store) -> LabelResult:
        """Label rows from the truth that traffic kept, if they are old enough."""
        from spamctl.store import queries
        from spamctl.traffic import labels

        whole = self._window(options)
        window = replace(whole, until=datetime.fromisoformat(self.began) - duration(options.delay))
        known = queries.count_known(store, window if options.overwrite else replace(window, labelled=False))
        rule = labels.Revelation(options.noise, options.coverage, options.seed)
        most = self._most(options, self.rows if options.overwrite else self.found)
        work = labels.label_by_truth(store, window, rule, most, overwrite=options.overwrite)
        return replace(begun, labelled=base.follow(work), known=known, noise=options.noise)

    def _copy(self, begun: LabelResult, options: LabelOptions, store: Store) -> LabelResult:
        """Label rows from a file."""
        from spamctl.data import label_file
        from spamctl.store.labels import Assignment, assign_by_text, assign_by_uuid

        asked = label_file.LabelRequest(options.labels, **asdict(base.layout(options)))
        given = label_file.read_label_file(asked)
        base.tell([f"{given.rows:,} labels by {given.key} in {options.labels}", *given.notes])
        assignment = Assignment(self._most(options, self.rows), options.overwrite)
        window = self._window(options)
        if given.key == "uuid":
            work = assign_by_uuid(store, window, given.chunks(), assignment, given.rows)
        else:
            work = assign_by_text(store, window, given.labels_of, assignment)
        base.follow(work)
        if given.key == "text":
            assignment.miss([f"row {place}" for place in given.unmet()])
        return replace(
            begun,
            file=options.labels,
            most=assignment.most,
            overwrite=assignment.overwrite,
            labelled=assignment.labelled,
            replaced=assignment.replaced,
            standing=assignment.standing,
            conflicts=assignment.conflicts,
            unknown=assignment.unknown,
            first_conflicts=tuple(assignment.first_conflicts),
            first_unknown=tuple(assignment.first_unknown),
        )

    def _compare(self, begun: LabelResult, options: LabelOptions, store: Store) -> LabelResult:  # noqa: ARG002 - all have the same
        """Measure how far annotators agree; the rows were labelled before the flow began."""
        from spamctl.store.labels import opinions

        said = opinions(store)
        if len(said) < 2:  # noqa: PLR2004 - a pair
            return replace(begun, agreements=())
        from spamctl.metrics import label_quality

        return replace(begun, agreements=tuple(label_quality.agreements(said)))

    def _export(self, begun: LabelResult, options: LabelOptions, store: Store) -> LabelResult:
        """Write labelled rows to a file."""
        from spamctl.data import export
        from spamctl.schema.message import SIMULATED
        from spamctl.store import queries, text_locations

        path, counts = Path(options.export), export.Exported()
        leave_out = "" if options.export_simulated else SIMULATED
        pages = queries.labelled_rows(store, self._window(options), leave_out=leave_out)
        progress = base.Progress("writing", total=self.rows - self.found, unit="rows")
        write = export.export_parts if export.is_folder(options.export) else export.export
        for counts in write(path, ([export.LabelledRow(*row) for row in page] for page in pages)):
            progress.reach(counts.rows)
        if counts.rows:
            text_locations.remember_place(text_locations.EXPORT, path)
        base.tell(counts.notes)
        return replace(begun, exported=counts.rows, file=options.export)


def action_of(options: LabelOptions) -> Action:
    """Name what was asked for: a source to label from, or export."""
    return "export" if options.export != "none" else options.source


def _check_files(options: LabelOptions) -> None:
    """Refuse a file that cannot be made before the store is opened."""
    from spamctl.data import export

    if options.export != "none":
        check = export.check_folder if export.is_folder(options.export) else export.check_target
        check(Path(options.export), overwrite=options.overwrite)


if __name__ == "__main__":
    LabelFlow()
