"""Every recipe can be cooked: it opens with its command, names real options, and never restates a default."""

import re
from pathlib import Path

from spamctl.config.sources import from_yaml, validate
from spamctl.config.verbs import VERBS
from tests.each import each

CONFIGS = Path(__file__).parents[2] / "configs"
MAIL = CONFIGS / "mail"  # files of mail servers, which tests/serving/test_mail_clients.py runs
PROXY = CONFIGS / "proxy"  # the file of a proxy, which tests/scale/test_replicas.py runs
RECIPES = sorted(path for path in CONFIGS.glob("*/*.*") if path.parent not in {MAIL, PROXY})


def test_there_are_recipes_and_nothing_else():
    assert {recipe.parent.name for recipe in RECIPES} <= VERBS.keys()
    assert {recipe.suffix for recipe in RECIPES} == {".yaml"}
    others = [path.name for path in CONFIGS.rglob("*.*") if path not in RECIPES and path.parent not in {MAIL, PROXY}]
    assert others == ["README.md"]


@each("folder", (MAIL, PROXY))
def test_every_file_of_another_program_is_described(folder):
    page = (CONFIGS / "README.md").read_text(encoding="utf-8")
    files = sorted(path.name for path in folder.iterdir())
    assert files
    assert files == sorted(re.findall(rf"\]\({folder.name}/(.+?)\)", page))


@each("recipe", RECIPES)
def test_a_recipe(recipe):
    options = VERBS[recipe.parent.name]
    first, second, reason, *_ = recipe.read_text().splitlines()
    assert first == f"# spamctl {options.verb} --config {recipe.relative_to(CONFIGS.parent)}"
    assert second == "#"
    assert reason.startswith("# ")
    source = from_yaml(options, recipe)
    assert source.faults == ()
    chosen = validate(options, [source.values]).items()
    defaults = {option.name: option.default for option in options.declared()}
    assert source.values
    assert not {name for name in source.values if chosen[name] == defaults[name]}
