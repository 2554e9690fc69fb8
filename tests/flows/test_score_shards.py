"""Several workers score an input side by side through the real command, killed as often as it takes."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow import parquet

from spamctl.store import queries
from spamctl.store.database import open_store
from tests import tiny_packages
from tests.canary import leaks
from tests.faults.processes import until
from tests.flows.conftest import kill_family
from tests.flows.test_score import CANARY, MESSAGES, desk, rows_of, score, start

__all__ = ["desk"]

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


PEAK = """
import json, resource, sys
from spamctl.data import shards
from spamctl.data.score_input import InputRequest
from spamctl.data.score_parts import Fingerprint
from spamctl.data.shard_output import PartFolder
from spamctl.schema.serve import Release
from spamctl.serving.bulk import BulkScorer, ShardJob

messages, package, output = sys.argv[1:]
request, parts = InputRequest(messages), PartFolder(output)
parts.check(resume=False, overwrite=False)
parts.begin(Fingerprint("", "", "", ""), shards.plan(request, 2**20, ""), overwrite=False)
scorer = BulkScorer(Release("spam", "1", "", package), threads=1, out_of_reach="deliver")
ticking = ShardJob(request, parts.begun.plan.shards, scorer, parts, with_text=True).run()
rows = max(tick.done for tick in ticking)
scorer.close()
print(json.dumps([rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))
"""


def test_memory_does_not_grow_with_the_rows(tmp_path):
    package = tiny_packages.write(tmp_path / "package", reach=0.5)
    peaks = {}
    for rows in (20_000, 200_000):
        path = tmp_path / f"{rows}.jsonl"
        with path.open("w") as file:
            for place in range(rows):
                file.write(json.dumps({"text": f"{MESSAGES[place % 300].text} {place}", "label": "ham"}) + "\n")
        words = [sys.executable, "-c", PEAK, str(path), str(package), f"{tmp_path}/out-{rows}/"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
        scored, peaks[rows] = json.loads(done.stdout.splitlines()[-1])
        assert scored == rows
    assert peaks[200_000] <= 1.05 * peaks[20_000] + 8, peaks  # MiB
