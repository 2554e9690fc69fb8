"""A package's graph runs in its own runtime, and one that is damaged or strays is refused in one line."""

import numpy as np
import pytest

from spamctl.engine import manifest, runtime
from spamctl.engine.engine import Engine
from spamctl.engine.runtime import ONNX, multiplies_int8, session
from spamctl.errors import ArtefactError
from tests import tiny_models, trained

TEXTS = [message.text for message in tiny_models.messages(40)]


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a package in int8."""
    place = tmp_path / "package"
    place.mkdir()
    return manifest.write(trained.files("llama", "auto"), place)


@pytest.mark.slow
@pytest.mark.parametrize("name", [ONNX, "model.bin"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x08\x0a", None])
def test_a_part_that_is_none_or_missing_is_refused_in_one_line(folder, tmp_path, name, content):
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    if name == ONNX and content is None:
        assert isinstance(runtime.runtime_of(folder, runtime.Terms(1, "f32", features=False)), runtime.OpenVino)
        return
    with pytest.raises(ArtefactError) as refused:
        session(folder / ONNX, 1)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", ["../outside.bin", "/etc/hostname"])
def test_a_graph_reads_no_file_outside_its_package(folder, elsewhere):
    import onnx

    graph = onnx.load(folder / ONNX, load_external_data=False)
    (folder.parent / "outside.bin").write_bytes((folder / "model.bin").read_bytes())
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            entry.value = elsewhere if entry.key == "location" else entry.value
    (folder / ONNX).write_bytes(graph.SerializeToString())
    with pytest.raises(ArtefactError, match="cannot run"):
        session(folder / ONNX, 1)


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "flags : sse4_2 avx2 avx512f avx512_vnni amx_int8", True),
        ("AMD64", "flags : avx2 avx_vnni", True),
        ("x86_64", "flags : sse4_2 avx2 avx512f", False),
        ("x86_64", None, False),
        ("aarch64", None, True),
    ],
)
def test_a_processor_is_asked_whether_int8_can_overflow(tmp_path, monkeypatch, machine, flags, expected):
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(runtime, "PROCESSORS", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert multiplies_int8() is expected


@pytest.mark.slow
def test_the_way_without_such_instructions_scores_the_same(folder, monkeypatch):
    rows = (fast := Engine(folder, threads=1)).tokenize(TEXTS)
    monkeypatch.setattr(runtime, "multiplies_int8", lambda: False)
    assert Engine(folder, threads=1).logits(rows).tolist() == fast.logits(rows).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_streams_change_no_bit(folder, threads):
    one, other = Engine(folder, threads=1), Engine(folder, threads=threads)
    rows = one.tokenize(TEXTS)
    expected = np.array([one.logits([row])[0] for row in rows])
    assert other.logits(rows).tolist() == expected.tolist()
    other.open_streams()
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    assert other.logits(rows, batches=[order[:3], order[3:]], fill=9).tolist() == expected.tolist()
