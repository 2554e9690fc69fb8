"""What is not there is told before anything is started for it, and no file is left behind."""

import json
import subprocess
import sys

import pytest

from tests.ports import closed_port

# Whether a child was started shows in the time that children took, and what a verb waits for in what it has loaded.
TRIED = """
import json, resource, sys
from spamctl.cli.app import main
code = main(sys.argv[1:])
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"code": code, "children": children, "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serve"], "--model-name spam: no model of this name is registered here; type spamctl train first"),
        (["monitor"], "spam.db: there is no store yet: spamctl serve makes it, or correct the address"),
        (["label"], "spam.db: there is no store yet: spamctl serve makes it, or correct the address"),
        (["label", "--target-uri", "sqlite:///what?.db"], "what?.db: there is no store yet"),
        (["label", "--source", "file", "--labels", "gone.csv"], "--labels gone.csv does not exist: correct the path"),
        (["train", "--dataset", "gone.csv"], "--dataset gone.csv does not exist: correct the path"),
        (["train", "--base-model", "./gone"], "--base-model ./gone: no such file or folder; correct the path"),
        (["train", "--feedback", "gone.db"], "gone.db: there is no store yet"),
    ],
)
def test_what_is_not_there_is_told_before_anything_is_started(tmp_path, words, told):
    more = ["--port", str(closed_port())] if words == ["serve"] else []
    done = subprocess.run([sys.executable, "-c", TRIED, *words, *more], capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    assert answer["code"] == 2
    assert done.stderr.splitlines()[0].startswith(f"spamctl: {told}")
    assert answer["children"] == 0
    assert not {"mlflow", "metaflow", "torch", "pandas"} & set(answer["modules"])
    assert list(tmp_path.iterdir()) == []
