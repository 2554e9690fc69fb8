"""Give every test a home of its own, and keep the tests from taking the whole machine."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from spamctl.engine.runtime import silence_openvino
from tests.examples import EXAMPLES

SLOW_FOLDERS = ("flows", "serving", "faults")
LONG = ALONE = ("faults",)  # and of no other folder does a test run alone
FIRST = ("scale", "flows", "serving", "model", "cli")  # whose files take longest: what ends last should be short
# What `make test` leaves to `make test-more` and `make test-scale`.
MORE = ("alone", "browser", "postgres", "mail", "scale", "small_disk", "long")
OUR_VARIABLES = ("SPAMCTL_", "METAFLOW_", "MLFLOW_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "XDG_")
REQUIRED = os.environ.get("SPAMCTL_TESTS_REQUIRE", "").split()
COLOUR_VARIABLES = ("FORCE_COLOR", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE")

# Read once, when numpy or torch load: two processes that each use every core slow each other a hundredfold.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "agg"
silence_openvino()

# Derandomised, a property is tried on the same examples each time; `make test-more` tries more of them.
settings.register_profile("spamctl", deadline=None, derandomize=True, database=None, max_examples=EXAMPLES)
settings.load_profile("spamctl")


def pytest_configure(config):
    """Keep what takes seconds to make, such as matplotlib's list of fonts, in one folder for the whole run."""
    if hasattr(config, "workerinput"):
        return  # a worker of pytest-xdist: who started it has done so
    folder = tempfile.TemporaryDirectory(prefix="spamctl-tests-", ignore_cleanup_errors=True)
    os.environ["MADE_FOR_TESTS"] = folder.name
    os.environ["MPLCONFIGDIR"] = f"{folder.name}/fonts"
    config.add_cleanup(folder.cleanup)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's `make test &`; all that tests start inherits it
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path, config):
    """Read no test in vain where only those that bear no company are asked for: what they import takes a while."""
    folder = collection_path.parent == Path(__file__).parent and collection_path.is_dir()
    return (folder and config.option.markexpr == "alone" and collection_path.name not in ALONE) or None


def pytest_collection_modifyitems(items):
    """Put the longest files first, and mark what is slow, and what is left to `make test-more`."""
    tests = Path(__file__).parent
    rooms = {item: item.path.relative_to(tests).parts[0] for item in items}
    items.sort(key=lambda item: FIRST.index(rooms[item]) if rooms[item] in FIRST else len(FIRST))
    for item in items:
        folder = rooms[item]
        if folder in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
        if folder in LONG:
            item.add_marker(pytest.mark.long)
        if any(map(item.get_closest_marker, MORE)):
            item.add_marker(pytest.mark.more)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Fail a test that skips for want of what SPAMCTL_TESTS_REQUIRE says must be here, such as `browser postgres`."""
    report = yield
    wanting = [name for name in REQUIRED if item.get_closest_marker(name)]
    if report.skipped and wanting:
        report.outcome, report.longrepr = "failed", f"{', '.join(wanting)} must not be skipped here: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def homes(tmp_path_factory):
    """Return a folder for the homes of all tests; pytest's own numbers cost more the more folders there are."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path, homes):
    """Move the user's folders, every cache and the working folder to empty places, and forget the user's settings."""
    folder = Path(tempfile.mkdtemp(prefix="home-", dir=homes))
    for name in os.environ:
        if name.startswith(OUR_VARIABLES) or name in COLOUR_VARIABLES:
            monkeypatch.delenv(name)
    for name, place in {
        "HOME": ".",
        "XDG_CACHE_HOME": ".cache",
        "XDG_CONFIG_HOME": ".config",
        "XDG_DATA_HOME": ".local/share",
        "XDG_STATE_HOME": ".local/state",
        "HF_HOME": ".cache/huggingface",
        "METAFLOW_HOME": ".metaflowconfig",
        "SPAMCTL_CACHE_DIR": ".cache/spamctl",
    }.items():
        monkeypatch.setenv(name, str(folder / place))
    monkeypatch.setenv("SPAMCTL_SMS_SPAM_URL", "")  # the full collection, where it can be had, would give other figures
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture(scope="session")
def tiny_gpt2():
    """Return the folder of a GPT-2 of 3 blocks with random weights, as a user would save it."""
    from tests import tiny_models
    from tests.made_once import folder_made_once

    return folder_made_once("tiny-gpt2", tiny_models.save_gpt2)


@pytest.fixture(scope="session")
def tiny_llama():
    """Return the folder of a Llama of 4 blocks with random weights."""
    from tests import tiny_models
    from tests.made_once import folder_made_once

    return folder_made_once("tiny-llama", tiny_models.save_llama)


@pytest.fixture(scope="session")
def messages():
    """Return 200 labelled messages, half of them spam, no two alike even without their digits."""
    from tests import tiny_models

    return tiny_models.messages()
