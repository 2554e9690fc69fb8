"""What was finished before an interruption is kept, what was not is done again, and nothing else continues."""

from dataclasses import replace

import pytest

from spamctl.data.score_output import Fingerprint, Parts, place_of
from spamctl.errors import UnavailableError, UsageError

MADE_OF = Fingerprint("ab", "spam 3", "cd", "{}")
ROWS = [{"place": 1, "text": "\ud800"}, {"place": 2}]


def begin(folder, made_of=MADE_OF, *, resume=False, overwrite=False):
    return Parts(folder, made_of, resume=resume, overwrite=overwrite)


def test_finished_parts_are_continued_under_the_same_run(tmp_path):
    with begin(tmp_path / "parts") as parts:
        run = parts.run
        parts.add(ROWS, {"counts": {"spam": 2}})
        parts.add(ROWS[:1], {"counts": {"spam": 1}})
    with begin(tmp_path / "parts", resume=True) as parts:
        assert (parts.run, parts.rows) == (run, 3)
        assert [summary["counts"]["spam"] for summary in parts.summaries] == [2, 1]
        parts.add(ROWS[1:], {})
        assert list(parts.read()) == [*ROWS, *ROWS]
        parts.remove()
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("damage", ["no summary", "no rows", "changed rows", "half a summary", "a draft"])
def test_a_part_that_is_not_whole_is_done_again_with_those_behind_it(tmp_path, damage):
    folder = tmp_path / "parts"
    with begin(folder) as parts:
        for _ in range(3):
            parts.add(ROWS, {})
    data, summary = folder / "part-000001.jsonl", folder / "part-000001.json"
    match damage:
        case "no summary":
            summary.unlink()
        case "no rows":
            data.unlink()
        case "changed rows":
            data.write_text("{}\n")
        case "half a summary":
            summary.write_text(summary.read_text()[:9])
        case "a draft":
            summary.rename(folder / f".{summary.name}.draft")
    with begin(folder, resume=True) as parts:
        assert parts.rows == 2
        assert sorted(path.name for path in folder.iterdir()) == ["begun.json", "part-000000.json", "part-000000.jsonl"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input": "x"}, "the messages changed since it was begun"),
        ({"model": "spam 4"}, r"the version \(spam 3 then, spam 4 now\) changed"),
        ({"options": "x", "package": "x"}, "the package of the version and options of the rows changed"),
    ],
)
def test_another_scoring_is_not_continued(tmp_path, change, words):
    with begin(tmp_path / "parts") as parts:
        parts.add(ROWS, {})
    with pytest.raises(UsageError, match=words):
        begin(tmp_path / "parts", replace(MADE_OF, **change), resume=True)
    with begin(tmp_path / "parts", resume=True) as parts:
        assert parts.rows == 2


def test_what_becomes_of_an_interrupted_run_must_be_said(tmp_path):
    with begin(tmp_path / "parts") as parts:
        parts.add(ROWS, {})
        run = parts.run
    with pytest.raises(UsageError, match="add --resume, or discard them by --overwrite"):
        begin(tmp_path / "parts")
    with begin(tmp_path / "parts", overwrite=True) as parts:
        assert parts.rows == 0
        assert parts.run != run
        assert [path.name for path in parts.folder.iterdir()] == ["begun.json"]


def test_a_run_that_finished_no_part_begins_anew_under_its_own_id(tmp_path):
    with begin(tmp_path / "parts") as parts:
        run = parts.run
    with begin(tmp_path / "parts") as parts:
        assert (parts.run, parts.rows) == (run, 0)
    with begin(tmp_path / "parts", replace(MADE_OF, input="x"), resume=True) as parts:
        assert parts.run != run


def test_two_runs_do_not_write_the_same_output(tmp_path):
    with (
        begin(tmp_path / "parts"),
        pytest.raises(UnavailableError, match="another run writes the same output"),
    ):
        begin(tmp_path / "parts", resume=True)


def test_parts_are_for_their_owner_alone(tmp_path):
    with begin(tmp_path / "parts") as parts:
        parts.add(ROWS, {})
        assert {path.stat().st_mode & 0o77 for path in [parts.folder, *parts.folder.iterdir()]} == {0}


def test_each_output_has_parts_of_its_own(tmp_path):
    assert place_of("a.csv", "none") == place_of(str(tmp_path / "a.csv"), "none")
    assert len({place_of("a.csv", "none"), place_of("b.csv", "none"), place_of("none", "a.csv")}) == 3
    assert place_of("a.csv").parts[0] == ".spamctl"
