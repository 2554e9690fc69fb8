"""Define every way a command may refuse as one tree of exceptions.

    SpamctlError               exit 1   the command failed
    ├── UsageError             exit 2   what was asked for cannot be done as asked
    │   ├── OptionsError                one or more options are wrong (all are named at once)
    │   └── DataError                   the messages cannot be used
    ├── UnavailableError       exit 1   something outside did not answer in time
    ├── ArtefactError          exit 1   a model package is damaged, or not what its manifest says
    ├── GateRefusedError       exit 3   the answer is no
    │   └── NothingLearntError          the model does not tell spam from the rest at all
    └── Refusal                         one request is not answered, the server goes on; see serving/errors.py

A refusal has three parts: what is wrong, where it was set, what to type next. They are caught once, in `cli/app.py`;
any other exception is a bug and keeps its traceback.
"""


class SpamctlError(Exception):
    """Reason in one line why the command stops; `exit_code` is what the shell sees."""

    exit_code = 1


class UsageError(SpamctlError):
    """Request that cannot be carried out as given."""

    exit_code = 2


class OptionsError(UsageError):
    """Wrong options, all of them at once, one fault a line."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class DataError(UsageError):
    """Messages that cannot be read, or cannot be learnt from."""


class UnavailableError(SpamctlError):
    """Hub, registry or database that did not answer in time."""


class ArtefactError(SpamctlError):
    """Model package that is damaged, or does not match its manifest."""


class GateRefusedError(SpamctlError):
    """Answer no: the model is under the threshold, or a test failed."""

    exit_code = 3


class NothingLearntError(GateRefusedError):
    """Answer no before any measurement: the model's scores do not separate the classes."""
