"""Declare the options of `spamctl demo`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from spamctl.config.options import Options, option


@dataclass(frozen=True, kw_only=True)
class DemoOptions(Options):
    """Options of the demonstration."""

    verb: ClassVar[str] = "demo"
    summary: ClassVar[str] = (
        "Run a demonstration in one folder: train, serve, drift, label, monitor, retrain, and monitor again."
    )
    example: ClassVar[str] = "spamctl demo --folder demo"

    folder: str = option(
        "spamctl-demo", "Folder to work in: a new one, or that of an earlier demo, which is cleared.", group="Demo"
    )
    messages: Annotated[int, Ge(100), Le(10_000)] = option(
        600, "Number of messages per round: clean, drifted, and drifted again.", group="Demo"
    )
    base_model: str = option("gpt2", "Base model, as in spamctl train.", group="Demo")
    dataset: str = option("sms-spam,everyday", "Training data, as in spamctl train.", group="Demo")
    open: bool = option(True, "Open the final page in a browser, if there is a screen.", group="Demo")
