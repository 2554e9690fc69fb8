"""A run is written whole or not at all, the list of runs is kept, and no file does what it should not."""

import csv
import json
import math

import pytest

from spamctl.errors import UsageError
from spamctl.reports import monitor_page
from spamctl.reports.monitor_page import kept, list_pages, write_pages
from tests.hostile import PAYLOADS
from tests.monitored import CALM, DRIFTED, hostile, told
from tests.reports.test_page import Outline

PAGES = {"data_quality": "<body>\n<p>q</p></body>", "drift": "<body>d</body>", "classification": ""}
FILES = {"index.html", "data_quality.html", "drift.html", "tests.csv", "words.csv", "monitor.json"}


def rows(path):
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_run_has_its_folder_and_the_list_names_it(tmp_path):
    folder = tmp_path / "deep" / "reports"
    places = write_pages(folder, told(DRIFTED), PAGES, {})
    assert places == {"report": str(folder / "17" / "index.html"), "all reports": str(folder / "index.html")}
    assert {path.name for path in (folder / "17").iterdir()} == FILES
    assert {path.name for path in folder.iterdir()} == {"17", "index.html"}
    card = Outline((folder / "17" / "index.html").read_text(encoding="utf-8"))
    for address in card.addresses:
        assert (folder / "17" / address).is_file()
    assert set(card.addresses) == FILES - {"index.html"} | {"../index.html"}
    assert Outline((folder / "index.html").read_text(encoding="utf-8")).addresses == ["17/index.html"]


def test_a_runs_folder_is_for_its_owner_alone(tmp_path):
    write_pages(tmp_path, told(DRIFTED), PAGES, {})
    assert (tmp_path / "17").stat().st_mode & 0o777 == 0o700


def test_a_page_of_another_maker_leads_back(tmp_path):
    write_pages(tmp_path, told(DRIFTED), PAGES, {})
    back = '<body>\n<p class="about"><a href="index.html">Back to the verdict</a></p>'
    assert (tmp_path / "17" / "drift.html").read_text(encoding="utf-8") == f"{back}d</body>"


def test_the_newest_run_comes_first(tmp_path):
    write_pages(tmp_path, told(DRIFTED), {}, {})
    write_pages(tmp_path, told(CALM), {}, {})
    assert [run.folder for run in kept(tmp_path)] == ["18", "17"]
    assert Outline((tmp_path / "index.html").read_text(encoding="utf-8")).addresses == [
        "18/index.html",
        "17/index.html",
    ]


def test_the_list_names_the_pages_of_a_demonstration_too_and_overwrites_none(tmp_path):
    (tmp_path / "cards").mkdir()
    for name in ("demo.html", "cards/train-1-evaluation.html", "my notes.html", "cards/<b>.html", "notes.txt"):
        (tmp_path / name).write_text("theirs")
    write_pages(tmp_path, told(DRIFTED), {}, {})
    write_pages(tmp_path, told(CALM), {}, {})
    named = Outline((tmp_path / "index.html").read_text(encoding="utf-8")).addresses
    assert named == ["18/index.html", "17/index.html", "demo.html", "cards/train-1-evaluation.html"]
    assert (tmp_path / "demo.html").read_text() == "theirs"
    (tmp_path / "18" / "monitor.json").write_text("broken")
    assert list_pages(tmp_path) == tmp_path / "index.html"
    assert "demo.html" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_figures_are_json_that_every_reader_takes(tmp_path):
    tests = [DRIFTED["tests"][0] | {"reference": math.nan, "current": math.inf}]
    write_pages(tmp_path, told(DRIFTED | {"tests": tests}), {}, {})
    kept_there = json.loads((tmp_path / "17" / "monitor.json").read_bytes(), parse_constant=pytest.fail)
    assert (kept_there["tests"][0]["reference"], kept_there["tests"][0]["current"]) == (None, None)
    assert kept_there["verdict"] == "failed"
    assert kept_there["files"]["report"] == str(tmp_path / "17" / "index.html")


def test_tests_and_words_are_tables(tmp_path):
    write_pages(tmp_path, told(DRIFTED), {}, {})
    tested = rows(tmp_path / "17" / "tests.csv")
    assert [row["name"] for row in tested] == [test["name"] for test in DRIFTED["tests"]]
    assert (tested[0]["statistic"], tested[0]["alarm"]) == (str(0.25 * 1.62), "True")
    moved = rows(tmp_path / "17" / "words.csv")
    assert [(row["side"], row["term"]) for row in moved[:2]] == [("spam", "parcel"), ("spam", "held at the depot")]
    assert [row["beside"] for row in moved[:2]] == ["courier, unpaid", ""]


def test_no_spreadsheet_computes_a_cell(tmp_path):
    write_pages(tmp_path, told(hostile([*PAYLOADS, "+1", "-1", "@SUM(1)", "\t=1"])), {}, {})
    for name in ("tests.csv", "words.csv"):
        for row in rows(tmp_path / "17" / name):
            for key, cell in row.items():
                assert not cell.startswith(("+", "@", "=", "\t", "\r", "\n", "-")), key
    assert "'=cmd|' /C calc'!A0" in {row["name"] for row in rows(tmp_path / "17" / "tests.csv")}


@pytest.mark.parametrize("run", ["", "..", "a/b", "../up", ".hidden", "a\\b", "x" * 129, "a b", "é"])
def test_a_run_that_would_leave_the_folder_is_refused(tmp_path, run):
    with pytest.raises(UsageError, match="cannot name a folder of reports"):
        write_pages(tmp_path / "in", told(DRIFTED | {"run_id": run}), {}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_overwritten_and_leaves_no_half(tmp_path):
    write_pages(tmp_path, told(DRIFTED), {}, {})
    with pytest.raises(UsageError, match=r"cannot write reports: .*; choose another folder with --report-dir"):
        write_pages(tmp_path, told(DRIFTED | {"verdict": "ok"}), {}, {})
    assert json.loads((tmp_path / "17" / "monitor.json").read_bytes())["verdict"] == "failed"
    assert {path.name for path in tmp_path.iterdir()} == {"17", "index.html"}


def test_a_file_in_the_way_is_one_line(tmp_path):
    (tmp_path / "reports").write_text("mine")
    with pytest.raises(UsageError, match="cannot write reports"):
        write_pages(tmp_path / "reports", told(DRIFTED), {}, {})
    assert (tmp_path / "reports").read_text() == "mine"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"x"', '{"checks": 1, "verdict": "ok"}', "\xff", "null"])
def test_a_run_that_cannot_be_read_is_listed_with_its_reason(tmp_path, text):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "monitor.json").write_bytes(text.encode("latin-1"))
    write_pages(tmp_path, told(DRIFTED), {}, {})
    found = {run.folder: run.fault for run in kept(tmp_path)}
    assert found["17"] == ""
    assert found["old"].startswith("monitor.json cannot be read: ")
    assert "monitor.json cannot be read" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_huge_figure_file_is_not_read(tmp_path, monkeypatch):
    write_pages(tmp_path, told(DRIFTED), {}, {})
    monkeypatch.setattr(monitor_page, "_MOST_BYTES", 100)
    assert [run.fault for run in kept(tmp_path)] == ["monitor.json cannot be read: larger than 100 bytes"]


def test_folders_of_others_are_left_alone(tmp_path):
    for name in ("a b", ".git"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "monitor.json").write_text("{}")
    write_pages(tmp_path, told(DRIFTED), {}, {})
    assert [run.folder for run in kept(tmp_path)] == ["17"]


@pytest.mark.browser
@pytest.mark.slow
def test_a_folder_of_hostile_words_runs_nothing(visit, tmp_path):
    folder = tmp_path / "reports"
    write_pages(folder, told(hostile(PAYLOADS)), PAGES, {})
    for path in (folder / "17" / "index.html", folder / "index.html"):
        seen = visit(path)
        assert "<title>RAN" not in seen.dom
        assert seen.dom.count("<script") == 0
        assert seen.asked == []
