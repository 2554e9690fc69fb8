"""Values that cross rooms are typed: dicts of anything, and keys written as strings, only become fewer."""

import ast

# Ceilings: whoever gets below one lowers it; nobody raises it. JSON enters and leaves as dicts, and is read there.
DICTS_OF_ANYTHING = 23
CONSTANT_KEYS = 190


def annotated(tree):
    """Count `dict[str, Any]` in a syntax tree."""
    return sum(isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]" for node in ast.walk(tree))


def keyed(tree):
    """Count subscripts by a constant string in a syntax tree."""
    return sum(
        isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
        for node in ast.walk(tree)
    )


def test_both_are_counted_wherever_they_stand():
    tree = ast.parse('def f(a: dict[str, Any]) -> list[dict[str, Any]]:\n    return [a["b"]["c"], a[0], a[d]]\n')
    assert (annotated(tree), keyed(tree)) == (2, 2)


def test_dicts_of_anything_become_fewer(modules):
    assert sum(annotated(module.tree) for module in modules.values()) <= DICTS_OF_ANYTHING


def test_constant_keys_become_fewer(modules):
    assert sum(keyed(module.tree) for module in modules.values()) <= CONSTANT_KEYS
