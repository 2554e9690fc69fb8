"""Words that are statements stay words, wherever they are put."""

import ast
import contextlib
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect, select

import spamctl
from spamctl.errors import UsageError
from spamctl.store import labels, queries, tables
from spamctl.store.address import parse
from spamctl.store.capture import Capture
from spamctl.store.database import open_store
from spamctl.store.queries import Window
from spamctl.store.rows import ShadowVerdict
from tests.store.made_rows import row, rows

STARTS = ["'", '"', "`", "')", '")', "\\'", "%27", "\uff07", "\0'", "$$"]
STATEMENTS = [
    " OR 1=1 --",
    "; DROP TABLE data; --",
    "; DELETE FROM data; --",
    "; UPDATE data SET ground_truth='spam' --",
    " UNION SELECT * FROM spamctl_store --",
    "; ATTACH DATABASE 'x.db' AS x; --",
]
ATTACKS = [start + statement for start in STARTS for statement in STATEMENTS]
ATTACKS += [
    "%s",
    "%(text)s",
    ":text",
    "?",
    "{0}",
    "${jndi:x}",
    "data; VACUUM",
    "sqlite_master",
    "pg_sleep(10)",
    "\x1a;",
]


def state(store):
    """Describe the whole database: every table, every column, every count."""
    with store.reading() as connection:
        found = inspect(connection)
        return {
            name: ([column["name"] for column in found.get_columns(name)], len(connection.execute(select(table)).all()))
            for name, table in tables.metadata.tables.items()
        } | {"tables": sorted(found.get_table_names())}


def test_an_attack_is_stored_as_text_and_found_as_text(address):
    assert len(ATTACKS) >= 50
    with open_store(address, create=True) as store:
        before = state(store)
        fields = ("text", "model_name", "model_version", "request_id", "source")
        made = [row(**dict.fromkeys(fields, attack)) for attack in ATTACKS]
        capture = Capture(address, timeout_s=30.0)
        assert all(capture.submit([one], [ShadowVerdict(one.uuid, one.text, "spam", 0.5)]).result(60) for one in made)
        capture.close()
        after = state(store)
        expected = {"data": len(ATTACKS), "shadow_verdicts": len(ATTACKS)}
        assert after == before | {name: (before[name][0], rows_) for name, rows_ in expected.items()}
        stored = {found.uuid: found for page in queries.pages(store) for found in page}
        for one in made:
            assert [getattr(stored[one.uuid], field) for field in fields] == [one.text] * len(fields)


def test_an_attack_chooses_and_changes_nothing(store):
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in rows(3)])
    before = state(store)
    for attack in ATTACKS:
        assert queries.count(store, Window(model_version=attack)) == 0
        assert queries.shadow_tally(store, attack) == {}
        assert queries.find(store, [attack]) == {}
        assert labels.feedback(store, attack, "spam", source=attack, annotator=attack) == "unknown"
        with pytest.raises(ValueError, match="is no uuid"):
            labels.set_labels(store, {attack: "spam"}, attack)
    assert state(store) == before


def test_an_attack_as_a_source_or_an_annotator_is_only_a_name(store):
    made = rows(len(ATTACKS))
    with store.writing() as connection:
        connection.execute(insert(tables.data), [asdict(one) for one in made])
    columns = {name: value[0] for name, value in state(store).items() if name != "tables"}
    for one, attack in zip(made, ATTACKS, strict=True):
        assert labels.feedback(store, one.uuid, "spam", source=attack, annotator=attack) == "recorded"
    assert {name: value[0] for name, value in state(store).items() if name != "tables"} == columns
    assert [labels.history(store, one.uuid)[0].source for one in made] == ATTACKS


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}", "postgresql://me:secret@127.0.0.1:1/{}"])
def test_an_attack_as_an_address_is_a_name_or_is_refused(form, tmp_path):
    for attack in ATTACKS:
        with contextlib.suppress(UsageError):
            address = parse(form.format(attack))
            assert address.file is None or tmp_path in address.file.parents
            assert "secret" not in address.name
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_be_named_like_an_attack(tmp_path):
    with open_store("'; DROP TABLE data; --.db", create=True) as store:
        assert queries.count(store) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["'; DROP TABLE data; --.db"]


SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|PRAGMA|ATTACH|FROM|WHERE|SET)\b")


def built_at_run_time(node):
    """Tell whether a text is put together from parts: an f-string, a format, a concatenation."""
    if isinstance(node, ast.JoinedStr):
        return bool(SQL.search(ast.unparse(node)))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return bool(SQL.search(ast.unparse(node)))
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(".format")
        and bool(SQL.search(ast.unparse(node)))
    )


def test_no_statement_is_built_of_parts():
    probe = ast.parse("f'SELECT {x}'; 'DROP ' + x; 'DELETE %s' % x; 'SELECT {}'.format(x); 'SELECT 1'; f'{x} row'")
    assert sum(built_at_run_time(node) for node in ast.walk(probe)) == 4
    faults = []
    for path in Path(spamctl.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        faults += [f"{path.name}:{node.lineno}" for node in ast.walk(tree) if built_at_run_time(node)]
    assert not faults
