"""Make the table rows of scores by kind of message, of unseen kinds and of the suites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spamctl.reports.scores import UNDEFINED
from spamctl.schema.evaluation import GroupScore, GroupScores, SuiteReport, UnseenScore, of_views
from spamctl.schema.rates import Interval

HEADS = ("messages", "good", "kept", "baseline keeps", "spam", "caught", "baseline catches")
UNSEEN_HEADS = ("unseen kinds", "messages", "language model", "n-grams", "both", "recall at 1 % FPR")
SUITE_HEADS = ("suite", "messages", "right", "95 % interval", "")
INVARIANCE_HEADS = ("harmless change", "messages", "same verdict", "95 % interval")
_SHARE = {"must-deliver": False, "must-catch": True}  # whether called spam is right


def kind_rows(kinds: GroupScores, views: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield a row of HEADS for each group of `views`: what is kept and caught, by the model and by the baseline."""
    rivals = {(one.view, one.name): one for one in kinds.baseline}
    for one in of_views(kinds.model, views):
        other = rivals.get((one.view, one.name))
        good = one.rows - one.spam
        yield (one.name, f"{good:,}", _kept(one), _kept(other), f"{one.spam:,}", _caught(one), _caught(other))


def unseen_rows(unseen: Sequence[UnseenScore]) -> Iterator[tuple[str, ...]]:
    """Yield a row of UNSEEN_HEADS for each medium: the area of each expert, and what both catch together."""
    for medium in dict.fromkeys(one.medium for one in unseen):
        by_expert = {one.expert: one for one in unseen if one.medium == medium}
        areas = [f"{by_expert[name].roc_auc:.3f}" for name in UNSEEN_HEADS[2:5]]
        both = by_expert[UNSEEN_HEADS[4]]
        yield (medium, f"{both.rows:,}", *areas, f"{both.recall:.1%}")


def suite_rows(suites: SuiteReport) -> Iterator[tuple[str, ...]]:
    """Yield a row of SUITE_HEADS for each line, those that fail marked."""
    for line in suites.lines:
        share = line.called_spam
        right = share if _SHARE[line.suite] else _other(share)
        mark = "FAILS" if line.fault else ""
        yield (f"{line.suite}: {line.name}", f"{line.rows:,}", f"{right.value:.1%}", _ends(right), mark)


def invariance_rows(suites: SuiteReport) -> Iterator[tuple[str, ...]]:
    """Yield a row of INVARIANCE_HEADS for each harmless change."""
    for one in suites.invariances:
        yield (one.change, f"{one.rows:,}", f"{one.unchanged.value:.1%}", _ends(one.unchanged))


def _ends(share: Interval) -> str:
    """Write the two ends of the interval of a share."""
    return f"{share.low:.1%} to {share.high:.1%}"


def _kept(one: GroupScore | None) -> str:
    """Write the share of good messages that is kept."""
    rate = one and one.false_positive_rate
    return f"{1 - rate.value:.1%}" if rate else UNDEFINED


def _caught(one: GroupScore | None) -> str:
    """Write the share of spam that is caught."""
    rate = one and one.recall
    return f"{rate.value:.1%}" if rate else UNDEFINED


def _other(share: Interval) -> Interval:
    """Turn the share that is called spam into the share that is not."""
    return Interval(1 - share.value, 1 - share.high, 1 - share.low)
