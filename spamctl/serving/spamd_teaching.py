"""Find the stored answer to a mail that comes again, and label it or take its label back, for TELL."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from spamctl.data.mail import Mail
from spamctl.message import Label
from spamctl.schema.label import USER
from spamctl.store import labels, queries
from spamctl.store.database import Store
from spamctl.store.rows import row_uuid


def mail_id(mail: Mail, version: str) -> str:
    """Return the id under which a version's answer to a mail is stored: the same whenever that mail comes again.

    A mail is known by its Message-ID and its text as the model reads it. What mail servers and filters add on its way
    into a folder changes neither.
    """
    return _id(mail.message_id, mail.text, version)


def find(store: Store, mail: Mail, served: str) -> str | None:
    """Return the uuid of the newest answer to a mail, by whichever version; `served` is the one of today.

    A mail that came without a Message-ID may have got one on its way. Raises UnavailableError if the database fails, as
    all functions here do.
    """
    return _newest(store, mail, [served]) or _newest(store, mail, queries.versions(store))


def learn(store: Store, uuid: str, label: Label, user: str) -> bool:
    """Label an answer as a person's, and return whether that changed anything."""
    return labels.feedback(store, uuid, label, source=USER, annotator=user) == "recorded"


def forget(store: Store, uuid: str, user: str) -> bool:
    """Take back a person's label of an answer, and return whether there was one."""
    return labels.withdraw(store, uuid, source=USER, annotator=user)


def _newest(store: Store, mail: Mail, versions: Sequence[str]) -> str | None:
    every = [_id(known, mail.text, version) for version in versions for known in {mail.message_id, ""}]
    rows = queries.find(store, [row_uuid(one, 0, mail.text) for one in every])
    return max(rows.values(), key=lambda row: row.date).uuid if rows else None


def _id(message_id: str, text: str, version: str) -> str:
    digest = hashlib.sha256(f"{message_id}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"mail-{digest[:40]}-{version}"
