"""The corpus keeps its promises: many kinds, both labels of each, no near duplicates, no cue that decides."""

import gzip
import re
from collections import Counter, defaultdict

import pytest
from datasketch import MinHash, MinHashLSH

from spamctl.data import bundled_sets
from spamctl.data.cleaning import keep_distinct
from spamctl.errors import DataError
from tests.bench import cues

NEAR = 0.8  # Jaccard similarity of runs of five characters, from which two messages are near duplicates
MOST_TOLD_BY_A_CUE = 0.8


@pytest.fixture(scope="module")
def messages():
    return bundled_sets.read_everyday()[1]


@pytest.fixture(scope="module")
def natural(messages):
    return [message for message in messages if not message.traits.border]


def test_the_corpus_is_large_and_has_every_medium(messages):
    media = Counter(message.traits.medium for message in messages)
    assert len(messages) >= 10_000
    assert media["sms"] >= 5_500
    assert media["mail"] >= 2_500
    assert media["comment"] >= 2_000


def test_over_half_is_good(messages):
    assert 0.5 < sum(not message.is_spam for message in messages) / len(messages) < 0.6


def test_every_kind_has_one_label_and_every_family_both(messages):
    labels = defaultdict(set)
    for message in messages:
        labels[message.traits.kind].add(message.label)
        labels[f"family {message.traits.family}"].add(message.label)
    assert len({message.traits.kind for message in messages}) >= 150
    assert not [name for name, found in labels.items() if len(found) != (2 if name.startswith("family ") else 1)]


def test_a_quarter_is_in_other_languages_with_both_labels_in_each(messages):
    by_language = defaultdict(Counter)
    for message in messages:
        by_language[message.traits.language][message.label] += 1
    others = {language: counts for language, counts in by_language.items() if language != "en"}
    both = [language for language, counts in others.items() if min(counts["spam"], counts["not spam"]) >= 20]
    assert sum(map(Counter.total, others.values())) >= 0.22 * len(messages)
    assert len(both) >= 14


def test_mails_are_of_the_length_of_mails(messages):
    words = sorted(len(message.text.split()) for message in messages if message.traits.medium == "mail")
    assert words[len(words) // 2] >= 60


def test_no_two_messages_are_near_duplicates(messages):
    index, found = MinHashLSH(threshold=NEAR, num_perm=64), []
    for place, message in enumerate(messages):
        text = re.sub(r"\d", "0", " ".join(message.text.lower().split()))
        sketch = MinHash(num_perm=64, seed=1)
        sketch.update_batch([text[start : start + 5].encode() for start in range(max(1, len(text) - 4))])
        found += [(messages[other].text, message.text) for other in index.query(sketch)]
        index.insert(place, sketch)
    assert found == []


def test_no_message_comes_twice_or_with_both_labels(messages):
    distinct = keep_distinct(messages)
    assert (distinct.repeated, distinct.disputed) == (0, 0)


def test_no_cue_decides(natural):
    assert {cue: area for cue, area in cues.areas(natural).items() if area > MOST_TOLD_BY_A_CUE} == {}


def test_telephone_numbers_are_masked_or_reserved(messages):
    whole = re.compile(r"(?<![\dX*x•])\+\d{2,3}[ -]?\d{3,4}[ -]?\d{4,6}(?![\dX*x•])")
    reserved = re.compile(r"555|7700[ -]?900|1632|0000")
    found = [match[0] for message in messages for match in whole.finditer(message.text)]
    assert [number for number in found if not reserved.search(number)] == []


def test_a_damaged_corpus_is_refused(tmp_path, monkeypatch):
    content = gzip.decompress((bundled_sets.FOLDER / "everyday.jsonl.gz").read_bytes())
    for damaged in (b"not gzip", gzip.compress(content[:-1])):
        path = tmp_path / "everyday.jsonl.gz"
        path.write_bytes(damaged)
        monkeypatch.setattr(bundled_sets, "_CONTENT", path)
        with pytest.raises(DataError, match="install spamctl again"):
            bundled_sets.read_everyday()
