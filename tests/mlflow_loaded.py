"""Load MLflow before a test does: its own modules warn of one another, and here a warning is an error."""

import importlib
import os
import warnings


def load_mlflow():
    """Import what MLflow imports on first use."""
    os.environ.update(DO_NOT_TRACK="true", MLFLOW_DISABLE_TELEMETRY="true")  # read as it loads
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry"):
            importlib.import_module(name)
