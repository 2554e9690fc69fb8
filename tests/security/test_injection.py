"""Words that are statements stay words, wherever they are put."""

import ast
import contextlib
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect, select

import spamctl
from spamctl.errors import UsageError
from spamctl.store import labels, queries, sampling, tables
from spamctl.store.address import parse
from spamctl.store.capture import Capture
from spamctl.store.database import open_store
from spamctl.store.queries import Window
from spamctl.store.sampling import SampleRequest, require_rows, survey
from spamctl.store.tables import ShadowVerdict
from tests.store.made_rows import row, rows
from tests.store.test_monitoring import FIRST
from tests.ticks import last

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
        for window in (Window(model_version=attack), Window(model_name=attack)):
            assert queries.count(store, window) == queries.count_known(store, window) == 0
            assert (
                queries.tally(store, window)
                == queries.newest(store, 9, window)
                == list(queries.pages(store, window))
                == []
            )
            assert queries.by_version(store, window) == queries.shadow_tally(store, "8", window) == {}
            assert last(survey(store, window, SampleRequest())).rows == 0
            with pytest.raises(UsageError, match="holds no answer of"):
                require_rows(store, window)
        assert queries.shadow_tally(store, attack) == {}
        assert queries.find(store, [attack]) == {}
        assert labels.feedback(store, attack, "spam", source=attack, annotator=attack) == "unknown"
        with pytest.raises(ValueError, match="is no uuid"):
            labels.set_labels(store, {attack: "spam"}, attack)
    assert state(store) == before


def test_an_attack_as_a_model_has_its_own_findings_and_no_others(store):
    sampling.append_monitoring(store, FIRST)
    before = state(store)
    for attack in ATTACKS:
        assert sampling.monitoring_history(store, attack) == []
    assert state(store) == before
    made = [replace(FIRST, run_id=attack, model_name=attack, model_version=attack) for attack in ATTACKS]
    for one in made:
        assert sampling.append_monitoring(store, one)
    assert [sampling.monitoring_history(store, attack) for attack in ATTACKS] == [[one] for one in made]
    assert sampling.monitoring_history(store, FIRST.model_name) == [FIRST]
    columns, _ = before["monitoring"]
    assert state(store) == before | {"monitoring": (columns, 1 + len(ATTACKS))}


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
# MLflow's filters have no parameters: what ends with a comparison and a quote is about to take a value in.
FILTER = re.compile(r"\s([!<>]?=|[<>]|I?LIKE|IN)\s*\(?\s*['\"]($|%|{)")


def is_built(node):
    """Tell whether a text is put together from parts: an f-string, a format, a concatenation."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".format")
    )


def is_a_statement(node):
    """Tell whether a text is SQL that is put together."""
    return is_built(node) and bool(SQL.search(ast.unparse(node)))


def is_a_filter(node):
    """Tell whether a text is a filter that is put together, or a call of MLflow's may be given one."""
    if is_built(node):
        parts = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
        return any(isinstance(part, str) and FILTER.search(part) for part in parts)
    if not (isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2].startswith("search_")):
        return False
    return not all(isinstance(value, ast.Constant) for value in (*node.args, *(word.value for word in node.keywords)))


def found(rule):
    """Name the functions, or modules, of the package in which a text breaks a rule."""
    names = set()
    for path in Path(spamctl.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        for node in filter(rule, ast.walk(tree)):
            inside = [one.name for one in functions if one.lineno <= node.lineno <= one.end_lineno]
            names.add(".".join([path.stem, *inside]))
    return names


def count(rule, code):
    return sum(map(rule, ast.walk(ast.parse(code))))


def test_no_statement_is_built_of_parts():
    probe = "f'SELECT {x}'; 'DROP ' + x; 'DELETE %s' % x; 'SELECT {}'.format(x); 'SELECT 1'; f'{x} row'"
    assert count(is_a_statement, probe) == 4
    assert found(is_a_statement) == set()


def test_few_places_put_a_value_into_a_filter_and_look_at_it_first():
    built = """f"name = '{x}'"; "name != '" + x; "name LIKE '%s'" % x; "run IN ('{}')".format(x); f'id > "{x}"'"""
    asked = "client.search_runs(x); mlflow.search_model_versions(filter_string=x, max_results=9)"
    fine = (
        """client.search_runs("a = 'b'", max_results=9); re.search(x); "a = '%s'"; f"x = {x}, '{x}'"; f'<a b="{x}">'"""
    )
    assert [count(is_a_filter, code) for code in (built, asked, fine)] == [5, 2, 0]
    # Of a run, too: its name is looked at first; and experiments are named by ids, which are no filter.
    assert found(is_a_filter) == {"registry_file.versions_of", "runs._begun", "runs._close_abandoned"}
