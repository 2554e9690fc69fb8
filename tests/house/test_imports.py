"""Imports go one way, through declared doors, and cost nothing until they are needed."""

import ast
import importlib.metadata
import re
import sys
from collections import defaultdict

import pytest

# Rooms from the ground up: each may import those before it, and none behind it.
ROOMS = (
    "data",
    "store",
    "engine",
    "metrics",
    "training",
    "export",
    "registry",
    "traffic",
    "reports",
    "drift",
    "serving",
    "deploy",
)
NOUNS = {"", "cores", "display", "errors", "folders", "progress", "schema", "sqlite_url"}  # what all may import
MAY_IMPORT = {
    "__main__": {"cli"},
    "cli": {"config", "jobs", "reports", "serving", "traffic"},
    "flows": {"config", *ROOMS},
    "jobs": {"config", *ROOMS},
    "config": NOUNS,
    **{room: set(ROOMS[:place]) for place, room in enumerate(ROOMS)},
    **dict.fromkeys(NOUNS, NOUNS),
}
# What a room may import as it loads, of the libraries that pyproject.toml bans at the top of a module.
AT_THE_TOP = {
    "drift": set(),
    "engine": {"pandas", "scipy", "sklearn"},
    "export": {"nncf", "onnx", "openvino", "torch", "transformers"},
    "flows": {"metaflow"},
    "jobs": {"metaflow"},
    "metrics": {"pandas", "scipy", "sklearn"},
    "reports": {"matplotlib"},
    "serving": {"mlflow", "pandas"},
    "store": {"sqlalchemy"},
    "training": {"peft", "torch", "transformers"},
}
DECLARED_AND_NEVER_IMPORTED = {
    "confusable-homoglyphs": "its table is read as a file",
    "gguf": "transformers reads GGUF files through it",
    "metaflow-card-html": "Metaflow finds the html card in it",
    "onnxscript": "torch.onnx needs it",
    "psycopg": "SQLAlchemy reaches PostgreSQL through it",
}


def imported(tree, names):
    """Yield every module that a tree imports, also inside functions: ours by the longest name that exists."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in names else node.module


def loaded(tree):
    """Yield the top-level names of what is imported as a module loads; blocks for the type checker are not."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (name.partition(".")[0] for name in imported(ast.Module([node], []), ()))
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


def cycle(graph):
    """Return one cycle of a graph, or nothing."""
    done = set()

    def visit(name, path):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        done.add(name)
        return next(filter(None, (visit(other, [*path, name]) for other in sorted(graph.get(name, ())))), [])

    return next(filter(None, (visit(name, []) for name in sorted(graph))), [])


@pytest.fixture(scope="module")
def ours(modules):
    """Return what each module imports of the package."""
    return {
        name: {other for other in imported(module.tree, modules) if other.split(".")[0] == "spamctl"} - {name}
        for name, module in modules.items()
    }


def test_an_import_inside_a_function_counts_and_one_for_the_type_checker_does_not_load():
    tree = ast.parse(
        "import ast\nif TYPE_CHECKING:\n    import torch\ntry:\n    import yaml\nexcept ImportError:\n    pass\n"
        "def f():\n    from spamctl import errors\n    from spamctl.errors import DataError\n"
    )
    assert set(imported(tree, {"spamctl.errors"})) == {"ast", "torch", "yaml", "spamctl.errors"}
    assert set(loaded(tree)) == {"ast", "yaml"}


def test_a_cycle_is_found():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}}) == []


def test_modules_import_what_exists(modules, ours):
    assert not [f"{name} -> {other}" for name, others in ours.items() for other in others if other not in modules]


def test_rooms_import_one_way(modules, ours):
    faults = []
    for name, others in ours.items():
        room = modules[name].room
        allowed = MAY_IMPORT[room] | NOUNS | {room}
        faults += [f"{name} -> {other}" for other in others if modules[other].room not in allowed]
    assert not faults


def test_no_module_and_no_room_imports_itself_by_a_detour(modules, ours):
    rooms = defaultdict(set)
    for name, others in ours.items():
        rooms[modules[name].room] |= {modules[other].room for other in others} - {modules[name].room, ""}
    assert " -> ".join(cycle(ours)) == ""
    assert " -> ".join(cycle(rooms)) == ""


def test_a_package_is_no_second_door(modules, ours):
    packages = {name for name, module in modules.items() if module.path.name == "__init__.py"}
    assert not [name for name in packages if ours[name]]


def test_rooms_load_only_what_they_may(modules, pyproject):
    banned = set(pyproject["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"])
    faults = []
    for module in modules.values():
        heavy = set(loaded(module.tree)) & banned
        faults += [f"{module.name}: {name}" for name in heavy - AT_THE_TOP.get(module.room, set())]
    assert not faults


def test_a_flow_and_a_job_load_metaflow_alone(modules):
    known = sys.stdlib_module_names | {"metaflow", "spamctl"}
    assert not [m.name for m in modules.values() if m.room in {"flows", "jobs"} and not set(loaded(m.tree)) <= known]


def reached(name, ours, modules):
    """Return every module that comes with one, imports inside functions included."""
    waiting, found = [name], set()
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            waiting += ours[one]
    return {modules[one] for one in found}


def test_the_engine_is_free_of_torch(modules, ours):
    heavy = {"torch", "transformers", "peft", "mlflow", "metaflow", "sqlalchemy"}
    engine = [name for name, module in modules.items() if module.room == "engine"]
    faults = {
        f"{name}: {module.name}"
        for name in engine
        for module in reached(name, ours, modules)
        if heavy & {other.partition(".")[0] for other in imported(module.tree, modules)}
    }
    assert not faults


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def declared(pyproject):
    """Return the distributions that pyproject.toml asks for at run time."""
    return {canonical(re.match(r"[\w.-]+", line)[0]) for line in pyproject["project"]["dependencies"]}


@pytest.fixture(scope="module")
def third_party(modules, declared):
    """Return the distributions that the package imports, each with the modules that do; a declared one goes first."""
    providers, users = importlib.metadata.packages_distributions(), defaultdict(set)
    for name, module in modules.items():
        for other in imported(module.tree, modules):
            top = other.partition(".")[0]
            if top not in sys.stdlib_module_names | {"spamctl"}:
                offers = {canonical(provider) for provider in providers.get(top, [top])}
                users[min(offers & declared or offers)].add(name)
    return users


def test_every_import_is_declared(third_party, declared):
    assert {name: users for name, users in third_party.items() if name not in declared} == {}


def test_every_declared_dependency_is_imported_or_says_who_needs_it(third_party, declared):
    assert declared - third_party.keys() == DECLARED_AND_NEVER_IMPORTED.keys()
