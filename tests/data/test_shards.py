"""Shards hold every message of an input once, in its order, as it is read in one go, whatever their size."""

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from spamctl.data import shards, storage
from spamctl.data.score_input import InputRequest, read
from spamctl.errors import DataError
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.message import NOT_SPAM, SPAM
from spamctl.schema.score import ShardPlan
from tests.mails import mail

SIZES = (200, 700, 5_000, 10**7)
CHANCE = random.Random(1)
TEXTS = ["h\u00e9llo " * CHANCE.randint(0, 20) + str(place) for place in range(397)]
LABELS = [SPAM if place % 3 else "ham" for place in range(len(TEXTS))]
MBOX = b"".join(
    b"From a@b Mon Jan  1 10:00:00 2024\nSubject: s%d\n\nbody %d\n>From x\n\n" % (place, place) for place in range(90)
)


def lines(**options):
    """Return JSON lines among which some are blank, no JSON, or end otherwise; the last has no end."""
    rows = [json.dumps({"text": one, "label": its}, **options) for one, its in zip(TEXTS, LABELS, strict=True)]
    rows[5] = "nope"
    return "\n".join(one + "\r" * (place % 7 == 0) + "\n" * (place % 50 == 3) for place, one in enumerate(rows))


def lay_box(folder):
    for place in range(5):
        for name in ("cur", ".Junk/cur"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{place}.x:2,S").write_bytes(mail(f"hello {place} in {name}"))
    (folder / "new").mkdir()


def lay_folder(folder):
    folder.mkdir()
    (folder / "a.eml").write_bytes(mail("first"))
    (folder / "b.mbox").write_bytes(MBOX)
    (folder / "c.mbox.gz").write_bytes(gzip.compress(MBOX))
    (folder / "d.eml").write_bytes(mail("last"))


def lay_tables(folder):
    folder.mkdir()
    (folder / "a.jsonl").write_text(lines())
    parquet.write_table(pa.table({"text": TEXTS, "label": LABELS}), folder / "b.parquet")
    (folder / "c.csv").write_text("text,label\n" + "".join(f'"{text}",spam\n' for text in TEXTS))


LAID = {
    "a.jsonl": lambda path: path.write_text(lines(ensure_ascii=False)),
    "b.jsonl": lambda path: path.write_text(lines(), encoding="utf-16"),
    "c.jsonl": lambda path: path.write_text(lines(ensure_ascii=False), encoding="latin-1"),
    "d.jsonl.gz": lambda path: path.write_bytes(gzip.compress(lines().encode())),
    "e.json": lambda path: path.write_text(json.dumps([{"text": text} for text in TEXTS], indent=1)),
    "f.parquet": lambda path: parquet.write_table(pa.table({"text": TEXTS, "label": LABELS}), path, row_group_size=60),
    "g.parquet": lambda path: parquet.write_table(pa.table({"text": ["a"] * 900}), path),
    "h.csv": lambda path: path.write_text("text\n" + "".join(f'"{text}"\n' for text in TEXTS)),
    "i.mbox": lambda path: path.write_bytes(MBOX),
    "Inbox": lambda path: path.write_bytes(MBOX),
    "j.eml": lambda path: path.write_bytes(mail("alone")),
    "k.txt": lambda path: path.write_text("one message"),
    "Maildir": lay_box,
    "folder": lay_folder,
    "tables": lay_tables,
}


@pytest.fixture
def laid(tmp_path):
    """Return what lays an input and asks for it."""

    def lay(name, **more):
        LAID[name](tmp_path / name)
        return InputRequest(str(tmp_path / name), **more)

    return lay


def messages(plan, request):
    return [one for shard in plan.shards for one in shards.read(shard, request)]


@pytest.mark.parametrize("name", LAID)
def test_each_message_is_in_one_shard_as_it_is_read_in_one_go(laid, name):
    request = laid(name)
    whole, plans = list(read(request)), [shards.plan(request, size, "") for size in SIZES]
    for plan in plans:
        assert messages(plan, request) == whole
        assert len({shard.digest for shard in plan.shards}) == len(plan.shards)
        assert from_json(ShardPlan, json.loads(json.dumps(to_json(plan)))) == plan
    assert len({plan.sha256 for plan in plans}) == 1
    assert len(plans[0].shards) >= len(plans[1].shards) >= len(plans[2].shards) >= len(plans[3].shards) == 1


@pytest.mark.parametrize("name", ["a.jsonl", "f.parquet", "i.mbox", "Maildir"])
def test_how_many_messages_there_are_is_known_beforehand(laid, name):
    request = laid(name)
    plan = shards.plan(request, 700, "")
    blank = 8 if name == "a.jsonl" else 0
    assert [shard.rows for shard in plan.shards if shard.rows < 0] == []
    assert sum(shard.rows for shard in plan.shards) == len(list(read(request))) + blank


def test_labels_mean_what_the_whole_says(laid):
    for name in ("a.jsonl", "f.parquet"):
        assert {shards.plan(laid(name), 700, "").meanings[word] for word in ("spam", "ham")} == {SPAM, NOT_SPAM}
    assert shards.plan(laid("Maildir"), 1, "").meanings == {SPAM: SPAM, NOT_SPAM: NOT_SPAM}
    assert shards.plan(laid("g.parquet"), 1, "").meanings == {}


def test_a_digest_tells_what_scores_it(laid):
    request = laid("a.jsonl")
    one, other = (shards.plan(request, 700, made_by) for made_by in ("spam 1", "spam 2"))
    assert {shard.digest for shard in one.shards}.isdisjoint(shard.digest for shard in other.shards)
    assert one.sha256 == other.sha256


@pytest.mark.parametrize("name", ["a.jsonl", "f.parquet", "h.csv", "i.mbox", "j.eml"])
def test_a_file_that_has_changed_is_refused_by_its_name(laid, name):
    request = laid(name)
    plan = shards.plan(request, 700, "")
    path = Path(request.messages)
    content = path.read_bytes()
    changed = content.replace(b"llo", b"LLO").replace(b"body", b"BODY").replace(b"alone", b"ALONE")
    path.write_bytes(content[:-9] + b"x" + content[-8:] if name == "f.parquet" else changed)
    with pytest.raises(DataError, match="has changed since the scoring began: start over with --overwrite") as refusal:
        messages(plan, request)
    assert str(refusal.value).startswith(request.messages)


def test_a_mail_that_is_gone_is_a_fault_with_its_name(laid):
    request = laid("Maildir")
    plan = shards.plan(request, 1, "")
    Path(request.messages, "cur/3.x:2,S").unlink()
    faults = [(one.source, one.fault) for one in messages(plan, request) if one.fault]
    assert faults == [(f"{request.messages} INBOX:3.x:2,S", "unreadable file (No such file or directory)")]


@pytest.mark.parametrize(
    ("name", "content", "more", "told"),
    [
        ("a.jsonl", b"", {}, r"a\.jsonl: is empty"),
        ("a.jsonl", b'{"body": "x"}\n', {}, "has no column 'text'"),
        ("a.parquet", b"PAR1 no", {}, "is no parquet file that can be read"),
        ("a.jsonl", b'{"text": "x"}\n', {"header": False}, "--no-header"),
        ("a.doc", b"x", {}, "is not of a known kind"),
    ],
)
def test_what_cannot_be_used_is_refused_by_the_plan(tmp_path, name, content, more, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told):
        shards.plan(InputRequest(str(tmp_path / name), **more), 700, "")


def test_files_of_a_folder_are_reached_by_their_names(tmp_path):
    place = f"{tmp_path}/parts/"
    storage.make_folder(place)
    assert storage.list_files(place) == []
    (tmp_path / "draft").write_bytes(b"abc")
    storage.put(tmp_path / "draft", storage.join(place, "one"))
    assert storage.read_file(storage.join(place, "one")) == b"abc"
    assert [(storage.name_of(one.name), one.size) for one in storage.list_files(place)] == [("one", 3)]
    storage.remove(storage.join(place, "one"))
    storage.remove(storage.join(place, "one"))
    assert storage.read_file(storage.join(place, "one")) is None
    with pytest.raises(DataError, match="cannot be made"):
        storage.make_folder(f"{tmp_path}/no/such/")
