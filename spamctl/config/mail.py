"""Validate the options that say which mail is spam."""

from collections.abc import Iterator

from spamctl.config.options import Fault
from spamctl.config.words import shown


def mail_faults(spam_folder: str, good: str = "none", spam: str = "none") -> Iterator[Fault]:
    """Yield names of folders that are none, and one label of mail without the other."""
    if not all(name.strip(" .") for name in spam_folder.split(",")):
        yield Fault(("spam_folder",), f"must be names of folders, separated by commas, got {shown(spam_folder)}")
    if (good == "none") != (spam == "none"):
        yield Fault(("good", "spam"), "go together: name mail of both labels")
