"""Check a registry file before a server is started, and load in a thread what the server will need."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from spamctl.serving.server import Loaded
    from spamctl.serving.state import Settings

# Check a registry file before a server is started: the version is there, and the folder has not moved.


def check_registry(variables: Mapping[str, str], *, model: str = "", version: str = "", experiment: str = "") -> str:
    """Return what the user should know of the registry that the variables name, or nothing.

    A registry on a server is not asked. Raises UsageError if the `version` of `model` is not there, where one is
    wanted, and UnavailableError if the file cannot be read now.
    """
    from spamctl.registry import registry_file
    from spamctl.registry.registry_file import NAME
    from spamctl.registry.tracking import DEFAULT, file_of

    file = file_of(variables.get("MLFLOW_TRACKING_URI") or DEFAULT)
    if file is None or (file.exists() and not file.is_file()):
        return ""  # which `model.tracking` refuses
    if version and NAME.fullmatch(model):
        registry_file.require_version(file, model, version)
    return registry_file.adopt(file, experiment)


def store(address: str) -> str:
    """Return the name of a store that can be used, or made; raise as `store.database.require_usable` does."""
    from spamctl.store.database import require_usable

    return require_usable(address)


# Import and load, in a thread, what a server in this process will need, so that it starts sooner.


class Preloader:
    """Preloader of the server's modules and engine; whatever was not taken is closed at the end of the block."""

    def __init__(self) -> None:
        """Begin with the imports, whatever is to be loaded."""
        self._thread = ThreadPoolExecutor(1, "early")
        self._thread.submit(_get_ready)
        self._loading: Future[Loaded] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
        if self._loading and not self._loading.cancelled() and not self._loading.exception():
            self._loading.result().deployments.close()

    def begin(self, settings: Settings) -> None:
        """Start loading, unless worker processes will."""
        if settings.workers == 1:
            self._loading = self._thread.submit(_load, settings)

    def take(self, settings: Settings) -> Loaded:
        """Return, once, what was loaded; load it now if nothing was begun. Raises as `load` does."""
        loading, self._loading = self._loading, None
        return loading.result() if loading else _load(settings)


def _get_ready() -> None:
    import onnxruntime  # noqa: F401
    import tokenizers  # noqa: F401

    import spamctl.serving.workers  # noqa: F401


def _load(settings: Settings) -> Loaded:
    from spamctl.serving.server import load

    return load(settings)
