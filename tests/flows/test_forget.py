"""Five messages go through everything that keeps texts, are forgotten, and then no byte of the folder holds them."""

import csv
import gzip
import io
import json
import stat
from datetime import UTC, datetime

import pytest
from pyarrow import parquet
from sqlalchemy import insert

from spamctl.schema.message import NOT_SPAM, SPAM, Message
from spamctl.store import labels, queries, tables
from spamctl.store.database import open_store
from spamctl.store.tables import values
from tests import tiny_models
from tests.flows.conftest import OWN, QUICK
from tests.flows.test_feedback import NEW, Given, fill
from tests.store.made_rows import row

BIRD = "canarybird"
# What JSON, HTML, CSV and a pickle of more than 255 bytes spell in other ways.
CANARIES = [
    f'{BIRD} sings "{number}" & <pays> the\u200b parcel fee n\u00ba {number * "so "}{number} soon'
    for number in (1, 2, 3, 4, 90)
]
USUAL = [one for one in tiny_models.messages(300, seed=1) if one.label == NOT_SPAM][:60]
AFTERWARDS = datetime(2026, 11, 10, tzinfo=UTC)
CALM = {"classification": NOT_SPAM, "probability": 0.1}
MONITOR = ("monitor", "--model-version", "1", "--since", "always", "--samples", "63")
EXPORTS = ("labelled.csv", "labelled.tsv", "labelled.jsonl", "labelled.ndjson", "labelled.parquet")


def holding(folder, wanted=BIRD):
    """Name all files of a folder that hold a word, packed or not; what the test has of the terminal is none of them."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name not in {"out", "err"}:
            content = path.read_bytes()
            if content.startswith(b"\x1f\x8b"):
                content = gzip.decompress(content)
            if content.startswith(b"PAR1"):
                content = str(parquet.read_table(io.BytesIO(content)).to_pydict()).encode()
            if wanted.encode() in content.lower():
                found.append(str(path.relative_to(folder)))
    return found


@pytest.fixture(scope="module")
def aviary(lay_trained):
    """Train, answer, label, monitor, export and train on feedback; return the desk and the uuids of the canaries."""
    desk = lay_trained("aviary")
    birds = [Given(Message(text, SPAM)) for text in CANARIES]
    # Two of them are learnt; three are held out with what is newest, and stand out in a window of the usual.
    given = [*birds[:2], *NEW, *birds[2:]]
    uuids = [uuid for uuid, one in zip(fill(desk.path("spam.db"), given), given, strict=True) if one in birds]
    with open_store(str(desk.path("spam.db"))) as store, store.writing() as connection:
        usual = [row(one.text, number, date=AFTERWARDS, **CALM) for number, one in enumerate(USUAL)]
        connection.execute(insert(tables.data), [values(one) for one in usual])
    words = [
        (*MONITOR, "--report-dir", "findings"),
        *(("label", "--export", name) for name in EXPORTS),
        ("train", *OWN, *QUICK, "--feedback", "spam.db"),
        MONITOR,
        ("recalibrate", "--model-version", "1", "--max-false-positive-rate", "0.05"),
    ]
    for verb in words:
        assert desk.ended(desk.start("-m", "spamctl", *verb)) in {0, 3}, desk.err
    return desk, uuids


@pytest.mark.long
def test_files_that_hold_texts_are_for_their_owner_alone(aviary):
    desk, _ = aviary
    found = holding(desk.folder)
    assert {*EXPORTS, "spam.db"} <= {*found}
    assert [name for name in found if stat.S_IMODE(desk.path(name).stat().st_mode) & 0o077] == []


@pytest.mark.long
def test_steps_and_servers_of_others_get_no_message_of_a_window(aviary):
    desk, _ = aviary
    spelt = [name for mark in ('"', "&quot;", '\\"') for name in holding(desk.folder, f"{BIRD} sings {mark}1")]
    assert any("TrainFlow" in name for name in spelt)
    assert [name for name in spelt if "MonitorFlow" in name or "spam-monitoring" in name] == []
    page = next(desk.path("findings").glob("*/index.html")).read_text()
    assert "nearest to the change" in page
    assert any(one.text in page for one in USUAL) or "parcel fee" in page


@pytest.mark.long
def test_no_byte_of_what_is_forgotten_is_left_and_what_is_not_ours_is_named(aviary):
    desk, uuids = aviary
    found = holding(desk.folder)
    for place in (
        "findings/",
        "reports/",
        ".metaflow/TrainFlow/data",
        ".metaflow/mf.cards/MonitorFlow",
        "mlruns/spam/",
    ):
        assert any(name.startswith(place) for name in found), f"the canaries never reached {place}"
    assert any(BIRD in path.read_text() for path in desk.path("findings").glob("*/words.csv"))
    desk.path("mine.csv").write_text(f"text\n{CANARIES[0]}\n")
    desk.path("gone.txt").write_text("\n".join([*uuids, "no such message"]))
    elsewhere = desk.path("reports/of-another/monitor.json")
    elsewhere.parent.mkdir()
    finding = json.loads(next(desk.path("reports").glob("*/monitor.json")).read_text())
    elsewhere.write_text(json.dumps(finding | {"store": "another.db"}))
    untouched = elsewhere.read_bytes()
    before = {name: len(rows(desk.path(name))) for name in EXPORTS}

    assert desk.ended(desk.start("-m", "spamctl", "forget", "--matching", "gone.txt")) == 1, desk.err
    assert "forgotten: 5 rows that gone.txt lists" in desk.out
    assert "25 rows of exports" in desk.out
    assert "NOT FOUND in spam.db: 1 line of gone.txt: 6" in desk.out
    assert "LEFT: mine.csv: holds it, and is not spamctl's: take it out of that file" in " ".join(desk.out.split())
    assert desk.out.count("LEFT") == 1
    assert "gone.txt lists messages itself: delete it" in desk.out
    assert BIRD not in desk.out + desk.err
    assert holding(desk.folder) == ["mine.csv", str(elsewhere.relative_to(desk.folder))]
    desk.path("mine.csv").unlink()

    # What is not forgotten is as it was, and so are findings of another store.
    assert elsewhere.read_bytes() == untouched
    assert {name: len(rows(desk.path(name))) + 5 for name in EXPORTS} == before
    with open_store(str(desk.path("spam.db"))) as store:
        assert queries.count(store) == len(NEW) + len(USUAL)
    for finding in [*desk.path("findings").glob("*/monitor.json"), *desk.path("reports").glob("*/monitor.json")]:
        assert json.loads(finding.read_text())["window"]["rows"] == 63
    assert desk.ended(desk.train("--resume")) == 2
    assert "--resume: a message of run" in desk.err
    assert desk.ended(desk.start("-m", "spamctl", *MONITOR)) in {0, 3}
    # It learns from the rest; whether that is better than the champion, which has learnt all of it, is not asked here.
    assert desk.ended(desk.train(*OWN, *QUICK, "--feedback", "spam.db")) in {0, 3}, desk.err
    (told,) = desk.told("result")
    assert told["registered"]
    assert sum(told["feedback"][part]["rows"] for part in ("train", "validation", "recent")) > 90


def rows(path):
    """Return the rows of an exported file."""
    match path.suffix:
        case ".parquet":
            return parquet.read_table(path).to_pylist()
        case ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def test_an_export_that_was_moved_is_named(lay):
    desk = lay("moved", covered=False)
    made = row("see you at eight", date=datetime(2026, 11, 1, tzinfo=UTC), classification=NOT_SPAM)
    with open_store(str(desk.path("spam.db")), create=True) as store:
        with store.writing() as connection:
            connection.execute(insert(tables.data), [values(made)])
        labels.feedback(store, made.uuid, NOT_SPAM)
    assert desk.ended(desk.start("-m", "spamctl", "label", "--export", "labelled.csv")) == 0, desk.err
    desk.path("labelled.csv").rename(desk.path("home.csv").parent / "tiny-gpt2.csv")
    desk.path("tiny-gpt2.csv").unlink()
    assert desk.ended(desk.start("-m", "spamctl", "forget", made.uuid)) == 1
    assert "LEFT: labelled.csv: exported on" in desk.out


def test_which_message_must_be_said_once(lay):
    desk = lay("wishes", covered=False)
    with open_store(str(desk.path("spam.db")), create=True):
        pass
    for words, told in (
        ((), "forget: nothing is named: give a uuid, --older-than 90d or --matching FILE"),
        (("--older-than", "old"), "--older-than: must be never, or an age such as 90d"),
        (("--older-than", "9d", "--matching", "x"), "--older-than: cannot be given with --matching: they name"),
        (("0f3c1d52-8f0e-5b53-9a3e-6d1f0a2b7c44", "--older-than", "9d"), "name different rows; give one of them"),
        (("--matching", "nil.txt"), "--matching nil.txt: cannot be read: No such file or directory; name another file"),
    ):
        assert desk.ended(desk.start("-m", "spamctl", "forget", *words)) == 2
        assert told in desk.err
    variable = {"SPAMCTL_FORGET_OLDER_THAN": "9d"}
    assert desk.ended(desk.start("-m", "spamctl", "forget", "0f3c1d52-8f0e-5b53-9a3e-6d1f0a2b7c44", **variable)) == 2
    assert "name different rows; give one of them" in desk.err
    assert desk.ended(desk.start("-m", "spamctl", "forget", "--older-than", "90d")) == 0
    assert desk.out.startswith("forgotten: 0 rows older than 90d, in spam.db")
