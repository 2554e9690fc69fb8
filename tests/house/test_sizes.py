"""A module fits a few screens, a function fits one, and six parameters are enough."""

import ast
import re
import statistics

MODULE_LINES = 500
BODY_LINES = 40
LONG_BODY_LINES = 60
PARAMETERS = 6
# A training loop or a flow's step says on its first line why it is read in one piece: `# long: one loop, read aloud`.
LONG = re.compile(r"# long: \w+ \w+")


def body_lines(function):
    """Count the lines of a body, its docstring left out."""
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return statements[-1].end_lineno - statements[0].lineno + 1 if statements else 0


def parameters(function):
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    every += [one for one in (function.args.vararg, function.args.kwarg) if one]
    return [one.arg for one in every if one.arg not in {"self", "cls"}]


def test_a_body_is_counted_without_its_docstring():
    function = ast.parse(
        'def f(self, a, *b, c=1):\n    """Say.\n\n    More.\n    """\n    x = 1\n\n    return x\n'
    ).body[0]
    assert body_lines(function) == 3
    assert parameters(function) == ["a", "c", "b"]


def test_modules_are_short(modules):
    sizes = {module.name: len(module.lines) for module in modules.values()}
    assert {name: size for name, size in sizes.items() if size > MODULE_LINES} == {}


def test_functions_are_short(modules):
    faults = []
    for module in modules.values():
        for name, function in module.functions():
            most = LONG_BODY_LINES if LONG.search(module.lines[function.lineno - 1]) else BODY_LINES
            if body_lines(function) > most:
                faults.append(f"{name}: {body_lines(function)} lines")
    assert not faults


def test_long_functions_are_few_and_most_are_half_a_screen(modules):
    sizes = {name: body_lines(function) for module in modules.values() for name, function in module.functions()}
    assert sum(size > BODY_LINES for size in sizes.values()) <= 5
    assert statistics.quantiles(sizes.values(), n=10)[7] <= BODY_LINES / 2


def test_six_parameters_are_enough(modules):
    faults = []
    for module in modules.values():
        for name, function in module.functions():
            if len(parameters(function)) > PARAMETERS:
                faults.append(f"{name}: {', '.join(parameters(function))}")
    assert not faults
