"""Importing does nothing, and help costs nothing."""

import json
import subprocess
import sys

import pytest

from spamctl.config.verbs import VERBS

PROBE = """
import importlib, json, logging, os, sys, threading
def state():
    return {
        "files": sorted(os.listdir(".") + os.listdir(os.environ["HOME"])),
        "threads": [thread.name for thread in threading.enumerate()],
        "variables": dict(os.environ),
        "handlers": [str(handler) for handler in logging.getLogger().handlers],
        "folder": os.getcwd(),
    }
changes = {}
before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
    after = state()
    changes[name] = [what for what in before if before[what] != after[what]]
    before = after
changes = {name: found for name, found in changes.items() if found}
print(json.dumps({"changes": changes, "modules": sorted(sys.modules)}))
"""


def probe(*names, code=PROBE):
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def heavy(loaded, pyproject):
    banned = set(pyproject["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"])
    return banned & {name.partition(".")[0] for name in loaded}


@pytest.mark.slow
def test_importing_does_nothing(modules):
    assert probe(*modules)["changes"] == {}


PAGES = [["--help"], ["--version"], *([verb, word] for verb in VERBS for word in ("--help", "--help-all"))]
PRINT = f"""
import json, sys
from spamctl.cli.app import main
codes = [main(words) for words in {PAGES!r}]
print(json.dumps({{"modules": sorted(sys.modules), "codes": codes}}))
"""


def test_help_loads_nothing_heavy(pyproject):
    answer = probe(code=PRINT)
    assert answer["codes"] == [0] * len(PAGES)
    assert heavy(answer["modules"], pyproject) == set()


def test_the_door_and_the_desk_load_nothing_heavy(modules, pyproject):
    light = [
        name
        for name, module in modules.items()
        if module.room in {"", "errors", "message", "sqlite_url", "cli", "config"}
    ]
    assert heavy(probe(*light, "spamctl.reports.train")["modules"], pyproject) == set()


def test_help_prints_the_same_every_time(monkeypatch):
    printed = set()
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        done = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, text=True, check=True)
        printed.add(done.stdout.rpartition("\n{")[0])
    (pages,) = printed
    assert all(f"spamctl {verb}" in pages for verb in VERBS)


@pytest.mark.slow
def test_the_server_loads_no_trainer_and_no_registry():
    loaded = {name.partition(".")[0] for name in probe("spamctl.serving.worker", "spamctl.serving.workers")["modules"]}
    assert {"starlette", "sqlalchemy", "numpy"} <= loaded
    assert not loaded & {"torch", "transformers", "mlflow", "pandas", "sklearn", "metaflow", "onnx", "nncf", "peft"}
