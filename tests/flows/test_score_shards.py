"""Several workers score an input side by side through the real command, killed as often as it takes."""

import json
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from pyarrow import parquet

from spamctl.store import queries
from spamctl.store.database import open_store
from tests import tiny_packages
from tests.canary import leaks
from tests.faults.processes import until
from tests.flows.conftest import kill_family
from tests.flows.test_score import MESSAGES, desk, rows_of, score, start

__all__ = ["desk"]

CANARY = "quince-2b8"  # of this file alone: the desk holds the inputs of the other one, too
KILLS = 10
MANY = 40_000
PARTS = ("--workers", "2", "--part-size", "0.03")

pytestmark = pytest.mark.scale


def table_of(desk, name):
    """Return the rows of a folder of parts, in the order of the input."""
    rows = parquet.read_table(desk.path(name)).to_pylist()
    return sorted(rows, key=lambda row: row["place"])


def parts_of(desk, name):
    return sorted(desk.path(name).glob("part-*.parquet"))


@pytest.fixture(scope="module")
def texts(desk):
    """Write so many messages that a run can be killed ten times."""
    texts = [f"{MESSAGES[place % 300].text} {place}" for place in range(MANY)]
    desk.path("very-many.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return texts


def killed(desk, words, parts, seconds):
    """Start a run, and kill all of it when there are so many parts, or after some seconds."""
    process = start(desk, *words)
    if seconds:
        time.sleep(seconds)
    else:
        until(lambda: len(parts_of(desk, "verdicts")) >= parts or process.poll() is not None)
    assert process.poll() is None, desk.err
    kill_family(process)
    return {path.name: path.stat().st_mtime_ns for path in parts_of(desk, "verdicts")}


def test_a_run_that_is_killed_ten_times_loses_nothing_and_scores_nothing_twice(desk, texts):
    words = ("very-many.jsonl", "--output", "verdicts/", "--capture", "shards.db", *PARTS)
    chance, kept = random.Random(41), {}
    for kill in range(KILLS):
        begun = ["--resume"] if desk.path("verdicts").exists() else []
        seconds = chance.uniform(0.1, 5) if kill % 3 == 2 else 0
        found = killed(desk, [*words, *begun], len(kept) + chance.randint(1, 6), seconds)
        assert found | kept == found, "what is whole is not written again"
        kept = found
    assert 7 <= len(kept) < 90

    code, out, last = score(desk, *words)
    assert (code, last) == (
        2,
        "spamctl: --output verdicts/: parts are there already: add --resume to continue, or --overwrite to discard",
    )
    code, out, last = score(desk, *words, "--resume")
    assert code == 0, last
    assert "had been scored before the run was interrupted" in out
    assert "by 2 workers" in out
    rows = table_of(desk, "verdicts")
    assert [row["place"] for row in rows] == list(range(1, MANY + 1))
    for path in parts_of(desk, "verdicts"):
        places = parquet.read_table(path)["place"].to_pylist()
        assert places == list(range(places[0], places[0] + len(places)))
    for place in range(0, MANY, 3_001):
        assert rows[place]["probability"] == pytest.approx(tiny_packages.probability(texts[place]), abs=1e-6)
    with open_store(str(desk.path("shards.db"))) as store:
        assert queries.count(store) == MANY
        assert len(queries.find(store, [row["uuid"] for row in rows[:2_000]])) == 2_000
    report = json.loads(desk.path("verdicts/_report.json").read_text())
    assert report["messages"] == sum(report["counts"][name] for name in ("spam", "not spam")) == MANY
    assert report["media"]["text"]["spam"] == report["counts"]["spam"]
    assert not [path.name for path in desk.path("verdicts").iterdir() if path.name.endswith(".draft")]


def test_workers_give_the_verdicts_of_one_process_to_the_last_bit_and_name_faults(desk):
    lines = desk.path("hostile.jsonl")
    texts = [f"Call now {CANARY} {place}" for place in range(400)]
    lines.write_text(
        "".join("nope\n" if place == 7 else json.dumps({"text": text}) + "\n" for place, text in enumerate(texts))
    )
    assert score(desk, "hostile.jsonl", "--output", "one.jsonl")[0] == 1
    code, out, last = score(desk, "hostile.jsonl", "--output", "two/", "--workers", "2", "--part-size", "0.005")
    assert code == 1
    assert last == "spamctl: 1 of 400 messages could not be read: 1 with no valid JSON (hostile.jsonl 8); mend them"
    assert "399 messages scored" in out
    assert table_of(desk, "two") == rows_of(desk.path("one.jsonl"))
    assert set(leaks(desk.folder, CANARY)) == {"hostile.jsonl"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--output", "out.jsonl", "--workers", "2"], "--workers: only parts are written by several; name an --output"),
        (["--output", "no/such/"], "no/such/: cannot be made (No such file or directory)"),
        (["--output", "./"], "--output ./: holds "),
    ],
)
def test_what_cannot_be_is_told_in_one_line(desk, words, told):
    code, out, last = score(desk, "messages.csv", *words)
    assert (code, out) == (2, "")
    assert last.startswith(f"spamctl: {told}")


WORKER = """
import json, os, resource, sys
from spamctl.data import shards
from spamctl.data.score_input import InputRequest
from spamctl.data.score_output import Fingerprint
from spamctl.data.shard_output import PartFolder
from spamctl.schema.serve import Release
from spamctl.serving.bulk import BulkScorer, ShardJob

messages, package, output, size, store, number, workers = sys.argv[1:]
request, parts = InputRequest(messages), PartFolder(output)
parts.check(resume=True, overwrite=False)
if not os.path.exists(output + "_plan.json"):
    parts.begin(Fingerprint("", "", "", ""), shards.plan(request, int(size), ""), overwrite=False)
scorer = BulkScorer(Release("spam", "1", "", package), threads=1, out_of_reach="deliver")
own = parts.begun.plan.shards[int(number) :: int(workers)]
job = ShardJob(request, own, scorer, parts, store=store, with_text=True)
ticking = job.run()
print("begun", flush=True)
rows = max(tick.done for tick in ticking)
scorer.close()
print(json.dumps([rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))
"""


def ended(process):
    """Wait for a worker to end and return its exit code; nothing stays open to it."""
    process.communicate()
    return process.returncode


def has_more(output, parts):
    return len(list(output.glob("part-*.parquet"))) > parts


@pytest.fixture(scope="module")
def laid(tmp_path_factory):
    """Return what starts a worker on so many messages, without Metaflow around it."""
    folder = tmp_path_factory.mktemp("workers")
    package = tiny_packages.write(folder / "package", reach=0.5)

    def start(rows, size, number=0, workers=1, store=""):
        path = folder / f"{rows}.jsonl"
        if not path.exists():
            texts = (f"{MESSAGES[place % 300].text} {place}" for place in range(rows))
            path.write_text("".join(json.dumps({"text": text, "label": "ham"}) + "\n" for text in texts))
        words = [str(path), str(package), f"{folder}/out-{rows}/", str(size), store, str(number), str(workers)]
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, *words], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )

    start.folder = folder
    return start


def test_workers_that_are_killed_anywhere_end_as_if_they_had_not_been(laid):
    rows, store, chance, kept = 30_000, str(laid.folder / "kept.db"), random.Random(43), {}
    output = laid.folder / f"out-{rows}"
    for kill in range(KILLS):
        running = [laid(rows, 2**15, number, 2, store) for number in range(2 if kill else 1)]  # the first one plans
        assert running[0].stdout.readline() == "begun\n"
        if kill % 2:
            until(partial(has_more, output, len(kept)))
        time.sleep(chance.uniform(0, 0.1))
        for one in running:
            one.kill()
            ended(one)
        found = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*.parquet")}
        assert found | kept == found, "what is whole is not written again"
        kept = found
    while any([ended(one) for one in [laid(rows, 2**15, number, 2, store) for number in range(2)]]):  # noqa: C419
        pass  # on a crowded machine one may wait for the lock of the store in vain: it stops, and is started again
    table = sorted(parquet.read_table(output).to_pylist(), key=lambda row: row["place"])
    assert [row["place"] for row in table] == list(range(1, rows + 1))
    assert [row["text"].rpartition(" ")[2] for row in table] == list(map(str, range(rows)))
    assert 0 < len(kept) < len(list(output.glob("part-*.parquet")))
    with open_store(store) as opened:
        assert queries.count(opened) == rows
        assert len(queries.find(opened, [row["uuid"] for row in table[-2_000:]])) == 2_000


def test_memory_does_not_grow_with_the_rows(laid):
    peaks = {}
    for rows in (20_000, 200_000):
        told, _ = laid(rows, 2**20).communicate()
        scored, peaks[rows] = json.loads(told.splitlines()[-1])
        assert scored == rows
    assert peaks[200_000] <= 1.05 * peaks[20_000] + 8, peaks  # MiB
