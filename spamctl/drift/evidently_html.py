"""Run Evidently's reports, and rewrite their HTML so that it runs its own scripts and nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from spamctl.errors import ArtefactError
from spamctl.schema.codec import ABSENT, JsonObject, to_json

if TYPE_CHECKING:
    import pandas as pd

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_SCRIPTS = 4  # in a page of Evidently 0.7.23: its data, a global, its bundle, the call that draws
_NAME = re.compile(r"metric_[0-9a-f]{32}")  # under which the page keeps its data, another each time
_HALF = 1  # of the two columns of a page
_DISTRIBUTION = "DATA DISTRIBUTION"
_STYLE = """
<style>
.about { margin: 0; padding: .75rem 1.5rem; font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1f2328;
         border-left: .4rem solid #0072b2; background: #f6f8fa; }
a[href^="http"], .modebar-btn--logo { display: none !important; }
</style>
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows of one sample: how many there are, how many were compared, and how many of these are `different`.

    `different` is None where near duplicates do not count as one.
    """

    of: int
    compared: int
    different: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class Page:
    """A page as HTML, empty if it could not be made, and its figures as plain values."""

    html: str
    summary: JsonObject


@dataclass(frozen=True, slots=True)
class Part:
    """Results of one run of Evidently: its widgets, its tests, its figures, and tables of ours by title."""

    widgets: Sequence[Any] = ()
    tests: Sequence[Any] = ()
    metrics: Sequence[Mapping[str, Any]] = ()
    tables: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)

    def side_by_side(self) -> Part:
        """Reduce each widget with tabs to the plot of both distributions, half a page wide, beside its finding.

        Evidently's other tabs plot values by row number, which says nothing here, and list words and examples.
        """
        kept = [widget for each in self.widgets for widget in (_distribution(each) if each.tabs else [each])]
        return replace(self, widgets=[widget.copy(update={"size": _HALF}) for widget in kept])

    def without_nothing(self) -> Part:
        """Drop the rows of tables in which both samples have a count of zero."""
        return replace(self, widgets=[_filled(widget) for widget in self.widgets])


@contextmanager
def quiet() -> Iterator[None]:
    """Disable Evidently's telemetry, and its warnings about internals that nobody here can act on."""
    os.environ.setdefault("DO_NOT_TRACK", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run(metrics: Sequence[Any], frames: Sequence[pd.DataFrame], definition: Any, *, tests: bool = False) -> Part:
    """Return what Evidently finds in frames (reference, current), or (current,) where there is no reference.

    `tests` adds Evidently's own test of each metric that has none; those of value drift compare with the threshold
    that the metric was given.
    """
    from evidently import Dataset, Report

    reference, current = (None, *frames)[-2:]
    data = [None if each is None else Dataset.from_pandas(each, definition) for each in (current, reference)]
    snapshot = Report(list(metrics), include_tests=tests).run(*data)
    return Part(snapshot._widgets, snapshot.tests_results, snapshot.dict()["metrics"])  # noqa: SLF001, no other door


def text_auc(before: Sequence[str], now: Sequence[str]) -> float:
    """Return the AUC at which Evidently's classifier of texts tells two samples apart, as its value drift would."""
    import pandas as pd
    from evidently.legacy.utils.data_drift_utils import calculate_text_drift_score

    score, _ = calculate_text_drift_score(pd.Series(before), pd.Series(now), bootstrap=False, threshold=1.0)
    return float(score)


def compose(title: str, parts: Iterable[Part], rows: Mapping[str, Compared], told: Mapping[str, object]) -> Page:
    """Return one page of several parts: their figures, their tests, and what is told beside them.

    `rows` says for each sample, by its name, what was compared of it.
    """
    from evidently.core.metric_types import metric_tests_widget, render_widgets
    from evidently.core.report import metric_tests_stats
    from evidently.legacy.renderers.html_widgets import group_widget, table_data

    several = list(parts)
    widgets = [
        *(
            table_data(title=name, column_names=["", "current", "reference"], data=cells)
            for part in several
            for name, cells in part.tables.items()
        ),
        *(widget for part in several for widget in part.widgets),
    ]
    tests = [test for part in several for test in part.tests]
    shown = [metric_tests_stats(tests), metric_tests_widget(tests)] if tests else []
    drawn = render_widgets([*shown, group_widget(title="", widgets=widgets)])
    summary: JsonObject = {
        "rows": to_json(rows),
        "metrics": [_metric(metric) for part in several for metric in part.metrics],
        "tests": [_test(test) for test in tests],
        **told,
    }
    return Page(safe(drawn, title, _about(rows)), summary)


def safe(drawn: str, title: str, about: str) -> str:
    """Return Evidently's HTML with a title and a policy: the scripts that stand in it run, and nothing is fetched.

    Raises ArtefactError if the page is not built as Evidently 0.7.23 builds it.
    """
    named = _NAME.sub("report", drawn)
    scripts = _SCRIPT.findall(named)
    if len(scripts) != _SCRIPTS or "</head>" not in named or "<body>" not in named:
        raise ArtefactError("Evidently wrote a page of another build than 0.7.23; install that version: uv sync")
    quoted = scripts[0].replace("<", "\\u003c")  # in JSON the same character, and no tag for a browser
    page = named.replace(scripts[0], quoted, 1)
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in dict.fromkeys((quoted, *scripts[1:])))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; font-src data:; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{html.escape(title)}</title>\n"
    )
    page = page.replace('<meta charset="UTF-8">', f'<meta charset="UTF-8">\n{head}', 1)
    page = page.replace("</head>", f"{_STYLE}</head>", 1)
    page = page.replace("<body>", f'<body>\n<p class="about">{html.escape(about)}</p>', 1)
    return page.strip() + "\n"


def _distribution(widget: Any) -> list[Any]:
    """Return the tab of a widget that draws both distributions, if it has one."""
    return [tab.widget for tab in widget.tabs if tab.title == _DISTRIBUTION]


def _filled(widget: Any) -> Any:
    """Return a widget whose table, if it is one, has no row of nothing."""
    if widget.type != "table":
        return widget
    rows = [row for row in widget.params["data"] if set(row[1:]) != {"None"}]
    return widget.copy(update={"params": {**widget.params, "data": rows}})


def _about(rows: Mapping[str, Compared]) -> str:
    """Describe what the page compares, and whose thresholds it uses."""
    said = [f"{counts.compared:,} {side} rows{_brackets(counts)}" for side, counts in rows.items()]
    return (
        f"Drawn by Evidently from {' and '.join(said)}. Tests use the thresholds that spamctl calibrated "
        "for a window of this size."
    )


def _brackets(counts: Compared) -> str:
    """Describe how many rows these are, and how many are distinct, where that is another number."""
    of, compared = counts.of, counts.compared
    different = compared if counts.different is None else counts.different
    told = [*([f"of {of:,}"] if of > compared else []), *([f"{different:,} different"] if different < compared else [])]
    return f" ({', '.join(told)})" if told else ""


def _digest(script: str) -> str:
    """Return the digest by which a policy names a script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _metric(metric: Mapping[str, Any]) -> JsonObject:
    """Return a figure by the type of its metric and its column: the name that Evidently gives holds the method too."""
    config = metric["config"]
    kind = str(config["type"]).rpartition(":")[2]
    told = {key: _plain(config[key]) for key in ("column", "method", "threshold", "quantile") if key in config}
    return {"metric": kind, **told, "value": _plain(metric["value"])}


def _test(test: Any) -> JsonObject:
    """Return a test: of which metric, on which column, and how it ended."""
    params = test.metric_config.params
    column = {"column": str(params["column"])} if "column" in params else {}
    kind = str(params["type"]).rpartition(":")[2]
    return {"metric": kind, **column, "name": str(test.name), "status": str(test.status.value)}


def _plain(value: Any) -> Any:
    """Return a value of numpy or of Evidently as JSON knows it; what is not finite is None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
