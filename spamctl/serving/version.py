"""Tell under which name and version a downloaded model folder was registered."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import yaml

MARK = "registered_model_meta"  # MLflow writes it beside MLmodel when it loads models:/name/version


class Registration(NamedTuple):
    """Name a version of a registered model."""

    name: str
    version: str


UNREGISTERED = Registration("unregistered", "unregistered")


def registered_as(package: Path) -> Registration:
    """Return what a model's package folder was loaded as, or UNREGISTERED."""
    for folder in package.parents:
        if (folder / "MLmodel").is_file():
            mark = folder / MARK
            if not mark.is_file():
                break
            told = yaml.safe_load(mark.read_text(encoding="utf-8"))
            return Registration(str(told["model_name"]), str(told["model_version"]))
    return UNREGISTERED
