"""Hold the workbench to what it lays out."""

from spamctl.model.backbone import find_base_model
from spamctl.model.workbench import open_workbench


def test_a_saved_folder_becomes_a_classifier(tiny_gpt2, tiny_llama, messages):
    for folder, depth in ((tiny_gpt2, 3), (tiny_llama, 4)):
        bench = open_workbench(find_base_model(str(folder), "none"), max_tokens=64)
        assert bench.trunk.depth == depth
        assert bench.classifier(2).trunk.depth == 2
