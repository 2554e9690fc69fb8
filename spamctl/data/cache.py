"""Locate the folder of downloads and conversions."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return the folder that holds what can be downloaded again: SPAMCTL_CACHE_DIR, or the user's cache folder."""
    return Path(os.environ.get("SPAMCTL_CACHE_DIR") or platformdirs.user_cache_dir("spamctl"))
