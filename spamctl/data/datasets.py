"""Read several datasets, bundled ones and a user's own files, as one corpus whose messages record their origin."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from spamctl.data.cleaning import clean
from spamctl.data.corpus import NONE, Corpus, CorpusRequest, read_corpus, read_mail_corpus, refuse_description
from spamctl.data.duplicates import keep_distinct
from spamctl.data.everyday import EVERYDAY, read_everyday
from spamctl.data.files import is_mail
from spamctl.data.mail_corpus import Source
from spamctl.data.rows import SPAM_FOLDER
from spamctl.data.sms_spam import SMS_SPAM
from spamctl.errors import DataError
from spamctl.message import NOT_SPAM, SPAM, Label, Message, Traits

BUNDLED: Final = (SMS_SPAM, EVERYDAY)
OWN: Final = "own file"
DEFAULT: Final = ",".join(BUNDLED)
OWN_SHARE = 0.5  # of the weight in training that a user's own files get together, if they are smaller than that
MOST_WEIGHT = 10.0  # of one message of an own file: fewer than a hundredth cannot outweigh all the others
BORDER_WEIGHT = 0.5  # border rows teach, but few people receive them

_SMS_TRAITS = Traits(SMS_SPAM, medium="sms", language="en")


def names(dataset: str) -> tuple[str, ...]:
    """Return the datasets that a list by commas names; a path that exists as it is written is one name.

    Raises DataError if a name is missing or comes twice.
    """
    if dataset == NONE:
        return ()
    if "," not in dataset or Path(dataset).exists():
        return (dataset,)
    found = tuple(name.strip() for name in dataset.split(","))
    if "" in found:
        raise DataError(f"--dataset {dataset}: a name is missing beside a comma; write {DEFAULT} or the path of a file")
    if twice := [name for name, count in Counter(found).items() if count > 1]:
        raise DataError(f"--dataset {dataset}: {twice[0]} is named twice; name each dataset once")
    return found


def read_datasets(request: CorpusRequest, *, may_ask: bool = True) -> Corpus:
    """Read every dataset that `request.dataset` names into one corpus; raise DataError as `read_corpus` does.

    What is said of columns, labels and bad rows is said of the files among them. A text that two datasets hold is kept
    once, as the first of them has it; groups of near duplicates that carry both labels are set aside. `may_ask` is as
    in `read_corpus`.
    """
    wanted = names(request.dataset)
    mailboxes = [Source(path) for name in wanted if name not in BUNDLED and is_mail(path := Path(name).expanduser())]
    tables = [name for name in wanted if name in BUNDLED or not is_mail(Path(name).expanduser())]
    mailboxes += _labelled(request)
    if wanted and all(name in BUNDLED for name in tables):
        refuse_description(replace(request, spam_folder=SPAM_FOLDER) if mailboxes else request)
    parts = [_read(name, request, may_ask=may_ask) for name in tables]
    if mailboxes:
        parts.append(_own(read_mail_corpus(mailboxes, request.spam_folder)))
    if not parts:
        raise DataError("--dataset none: there is nothing to read: name a dataset, or mail with --good and --spam")
    return parts[0] if len(parts) == 1 else _joined(parts)


def training_weights(messages: Sequence[Message], answered: Sequence[float] = ()) -> tuple[float, ...]:
    """Return how much each message counts in training, or nothing if all count the same.

    Border rows count half. A user's own files count as half of all together, where they are fewer than that, but one
    message of theirs for at most ten. `answered` (N,) says how much each counts more, being a labelled answer.
    """
    own = sum(message.traits.dataset == OWN for message in messages)
    others = len(messages) - own
    weight = 1.0
    if own and others:
        weight = min(MOST_WEIGHT, max(1.0, others * OWN_SHARE / (1 - OWN_SHARE) / own))
    found = tuple(
        weight if message.traits.dataset == OWN else BORDER_WEIGHT if message.traits.border else 1.0
        for message in messages
    )
    found = tuple(one * more for one, more in zip(found, answered or (1.0,) * len(found), strict=True))
    return found if len(set(found)) > 1 else ()


def _labelled(request: CorpusRequest) -> list[Source]:
    """Return the mailboxes that have one label each; raise DataError where one is none."""
    labels: tuple[tuple[str, str, Label], ...] = (("--good", request.good, NOT_SPAM), ("--spam", request.spam, SPAM))
    found = [(option, Path(given).expanduser(), label) for option, given, label in labels if given != NONE]
    for option, path, _ in found:
        if not path.exists() or not is_mail(path):
            what = "is no file or folder of mail" if path.exists() else "does not exist"
            raise DataError(f"{option} {path} {what}: give it an mbox, a Maildir, or a folder of .eml files")
    return [Source(path, label) for _, path, label in found]


def _own(found: Corpus) -> Corpus:
    """Mark the messages of a user's own files."""
    messages = (replace(one, traits=replace(one.traits, dataset=OWN)) for one in found.messages)
    return replace(found, messages=tuple(messages))


def _read(name: str, request: CorpusRequest, *, may_ask: bool) -> Corpus:
    """Read one dataset, and write into its messages what is known of them."""
    if name == EVERYDAY:
        return _everyday()
    if name == SMS_SPAM:
        found = read_corpus(CorpusRequest(SMS_SPAM), may_ask=may_ask)
        return replace(found, messages=tuple(replace(message, traits=_SMS_TRAITS) for message in found.messages))
    return _own(read_corpus(replace(request, dataset=name), may_ask=may_ask))


def _everyday() -> Corpus:
    """Read the corpus of messages of today."""
    content, rows = read_everyday()
    distinct = keep_distinct([replace(message, text=clean(message.text)) for message in rows])
    origin = f"{EVERYDAY}, written for spamctl ({len(rows):,} rows)"
    return Corpus(
        distinct.messages, origin, hashlib.sha256(content).hexdigest(), _left_out(distinct.repeated, distinct.disputed)
    )


def _joined(parts: Sequence[Corpus]) -> Corpus:
    """Make one corpus of several; its sha256 is that of all of theirs."""
    distinct = keep_distinct([message for part in parts for message in part.messages])
    return Corpus(
        messages=distinct.messages,
        origin=" and ".join(part.origin for part in parts),
        sha256=hashlib.sha256(json.dumps([part.sha256 for part in parts]).encode()).hexdigest(),
        notes=(*(note for part in parts for note in part.notes), *_left_out(distinct.repeated, distinct.disputed)),
        warnings=tuple(warning for part in parts for warning in part.warnings),
    )


def _left_out(repeated: int, disputed: int) -> tuple[str, ...]:
    """Describe what was left out when datasets were merged."""
    counts = {"exact copies between datasets": repeated, "near duplicates that carry both labels": disputed}
    return tuple(f"left out: {count:,} {what}" for what, count in counts.items() if count)
