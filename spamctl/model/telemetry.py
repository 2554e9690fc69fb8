"""Disable OpenVINO's telemetry: importing it sends an event to a web service, from a forked process."""

import sys
from typing import Any, cast

REPORTER = "openvino_telemetry"


def silence_openvino() -> None:
    """Make OpenVINO and NNCF use the stub that they have for a missing telemetry package.

    Call it before either is imported. The fork alone is a danger: it is made in a thread, beside threads that hold
    locks, and has hung or broken a server that was to end.
    """
    if REPORTER not in sys.modules:
        cast("dict[str, Any]", sys.modules)[REPORTER] = None  # what Python takes for "cannot be imported"
