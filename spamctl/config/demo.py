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
    summary: ClassVar[str] = "See it all in one folder: train, serve, drift, label, watch, retrain, and watch again."
    example: ClassVar[str] = "spamctl demo --folder demo"

    folder: str = option(
        "spamctl-demo", "Folder to work in: made anew, or one that an earlier demo left.", group="Story"
    )
    messages: Annotated[int, Ge(100), Le(10_000)] = option(
        600, "Messages to send each time: clean ones, drifted ones, and drifted ones again.", group="Story"
    )
    base_model: str = option("gpt2", "Model to fine-tune, as in spamctl train.", group="Story")
    dataset: str = option("sms-spam,everyday", "Labelled messages, as in spamctl train.", group="Story")
    open: bool = option(True, "Open the page in the end, if there is a screen.", group="Story")
