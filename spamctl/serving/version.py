"""Tell under which version a downloaded model folder was registered."""

from __future__ import annotations

from pathlib import Path

import yaml

UNREGISTERED = "unregistered"
MARK = "registered_model_meta"  # MLflow writes it beside MLmodel when it loads models:/name/version


def registered_version(package: Path) -> str:
    """Return the version that a model's package folder was loaded as, or "unregistered"."""
    for folder in package.parents:
        if (folder / "MLmodel").is_file():
            mark = folder / MARK
            if not mark.is_file():
                break
            return str(yaml.safe_load(mark.read_text(encoding="utf-8"))["model_version"])
    return UNREGISTERED
