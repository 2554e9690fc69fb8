"""A package is used only if every file is the one that was packaged."""

import hashlib
import json
from dataclasses import replace

import pytest

from spamctl.engine import manifest
from spamctl.engine.manifest import MANIFEST, SUFFIXES, Golden, Manifest
from spamctl.errors import ArtefactError

PARTS = {"model.xml": b"<net/>", "model.bin": bytes(range(256)), "tokenizer.json": b"{}"}
PLAIN = Manifest("int8", "f32", 64, 2, 1.5, -0.25, 0.4375, (Golden("Salut ✉", 0.125), Golden("", 0.5)), {"depth": 2})


@pytest.fixture
def folder(tmp_path):
    """Return a folder that holds a whole package."""
    place = tmp_path / "package"
    place.mkdir()
    return manifest.write(manifest.seal(PARTS, PLAIN), place)


def edit(folder, **changes):
    """Change what a manifest file says, as an attacker or a later version might."""
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def edit_use(folder, **changes):
    """Change how a manifest says that its package is to be used."""
    edit(folder, manifest=json.loads((folder / MANIFEST).read_bytes())["manifest"] | changes)


def seal_anew(folder):
    """Make a manifest that was changed know its own digest again, as who means harm can."""
    told = json.loads((folder / MANIFEST).read_bytes())
    said = json.dumps({name: told[name] for name in told if name != "sha256"}, sort_keys=True, separators=(",", ":"))
    edit(folder, sha256=hashlib.sha256(said.encode()).hexdigest())


def add_to_list(folder, name, content):
    """List a file with its true digest, so that nothing but its name can be wrong."""
    listed = json.loads((folder / MANIFEST).read_bytes())["files"]
    edit(folder, files=listed | {name: hashlib.sha256(content).hexdigest()})
    seal_anew(folder)


def refusal(folder):
    """Return the words with which a folder is refused: one line, which names the folder alone."""
    with pytest.raises(ArtefactError) as refused:
        manifest.verify(folder)
    words = str(refused.value)
    assert "\n" not in words
    assert words.startswith("package: ")
    assert str(folder.parent) not in words
    return words


def test_what_is_sealed_is_what_is_read(folder):
    assert manifest.verify(folder) == PLAIN


def test_files_come_back_byte_for_byte(folder):
    assert manifest.read(folder) == manifest.seal(PARTS, PLAIN)


def test_a_manifest_is_a_function_of_the_package(folder):
    shuffled = dict(reversed(PARTS.items()))
    assert manifest.seal(shuffled, PLAIN)[MANIFEST] == manifest.seal(PARTS, PLAIN)[MANIFEST]


def test_a_package_can_be_sealed_again(folder):
    again = manifest.seal(PARTS, replace(PLAIN, threshold=0.75))
    assert manifest.verify(manifest.write(again, folder)).threshold == 0.75


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_bit_is_found(folder, name, place):
    content = bytearray((folder / name).read_bytes())
    content[place] ^= 1
    (folder / name).write_bytes(content)
    assert f"{name} is not the file that was packaged" in refusal(folder)


@pytest.mark.parametrize("name", PARTS)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert name in refusal(folder)


@pytest.mark.parametrize("name", ["extra.json", "model.pkl", "__init__.py"])
def test_a_file_that_nobody_listed_is_named(folder, name):
    (folder / name).write_bytes(b"x")
    assert name in refusal(folder)


@pytest.mark.parametrize("name", ["model.pkl", "entry.py", "model.pt", "lib.so", "model.bin.pickle", "json"])
def test_a_kind_of_file_that_a_package_never_holds_is_refused_even_if_listed(folder, name):
    (folder / name).write_bytes(b"\x80\x04N.")
    add_to_list(folder, name, b"\x80\x04N.")
    assert f"a package never holds {name}" in refusal(folder)


@pytest.mark.parametrize("name", ["../outside.json", "/outside.json", "sub/inside.json", "..", ""])
def test_a_name_that_leads_elsewhere_is_refused(folder, name):
    (folder.parent / "outside.json").write_bytes(b"{}")
    add_to_list(folder, name, b"{}")
    refusal(folder)


def test_a_folder_in_place_of_a_file_is_refused(folder):
    (folder / "model.xml").unlink()
    (folder / "model.xml").mkdir()
    assert "model.xml" in refusal(folder)


@pytest.mark.parametrize("version", [3, 0, "1", None])
def test_another_format_is_refused(folder, version):
    edit(folder, format=version)
    assert refusal(folder) == "package: manifest.json.format: Input should be 1 or 2; use the spamctl that packaged it"


def test_a_later_format_is_told_even_if_its_fields_are_others(folder):
    edit(folder, format=3, window=64, files=[], manifest={})
    assert "manifest.json.format" in refusal(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 1}', b"[" * 100_000, b'{"files": 1, "format": 1}']
)
def test_a_manifest_that_is_none_is_refused(folder, content):
    (folder / MANIFEST).write_bytes(content)
    refusal(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": "high"}, {"threshold": None}, {"threshold": True}, {"max_tokens": 0}, {"max_tokens": 1.5},
        {"slope": "1"}, {"empty_id": -1}, {"golden": [{"text": "a"}]}, {"golden": "ab"},
        {"golden": [{"text": 1, "probability": 0.5}]},
        {"golden": [{"text": "a", "probability": "0.5"}]}, {"golden": [{"text": "a", "probability": 1.5}]},
        {"precision": 32}, {"surprise": 1}, {"slope": 0.0}, {"slope": -1.0}, {"about": []},
        {"threshold": 0.0}, {"threshold": 1.0}, {"threshold": -0.5}, {"max_tokens": 10**9}, {"golden": []},
        {"golden": [{"text": "a", "probability": 0.5}] * 2000}, {"empty_id": 10**9}, {"slope": 1e300},
        {"intercept": -1e300}, {"engine": "pickle"}, {"precision": "f64"}, {"precision": ""},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_value_of_another_kind_is_refused(folder, change):
    edit_use(folder, **change)
    assert "manifest.json.manifest" in refusal(folder)


EDITS = [
    {"threshold": 0.999999}, {"threshold": 0.43750000001}, {"max_tokens": 63}, {"empty_id": 3}, {"slope": 1.25},
    {"intercept": 0.0}, {"engine": "float32"}, {"precision": "bf16"}, {"about": {"depth": 3}},
    {"golden": [{"text": "", "probability": 0.5}]},
]  # fmt: skip


@pytest.mark.parametrize("change", EDITS, ids=json.dumps)
def test_a_value_that_was_changed_is_refused_though_it_might_be_one(folder, change):
    edit_use(folder, **change)
    assert refusal(folder) == "package: manifest.json is not as it was packaged; download or train again"


@pytest.mark.parametrize("change", EDITS, ids=json.dumps)
def test_a_package_that_was_sealed_anew_is_not_the_one_that_was_registered(folder, change):
    registered = manifest.digest(folder)
    assert manifest.verify(folder, registered) == PLAIN
    edit_use(folder, **change)
    seal_anew(folder)
    assert manifest.verify(folder) != PLAIN
    with pytest.raises(ArtefactError, match=r"manifest\.json is not the one that was registered"):
        manifest.verify(folder, registered)


def test_a_seal_does_not_hang_on_how_a_manifest_is_laid_out(folder):
    told = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(dict(reversed(told.items()))))
    assert manifest.verify(folder) == PLAIN


@pytest.mark.parametrize("seal", [None, "", "0" * 64, "A" * 64, 1])
def test_a_manifest_without_its_own_seal_is_refused(folder, seal):
    edit(folder, sha256=seal)
    refusal(folder)


def test_a_package_of_before_there_were_seals_is_read_if_its_threshold_parts_its_golden_messages(folder):
    told = json.loads((folder / MANIFEST).read_bytes())
    del told["sha256"]
    (folder / MANIFEST).write_text(json.dumps(told | {"format": 1}))
    assert manifest.verify(folder) == PLAIN
    edit_use(folder, threshold=0.999999)
    assert "is not as it was packaged" in refusal(folder)


@pytest.mark.parametrize("digest", ["", "0", "x" * 64, "A" * 64, "0" * 63 + "\n", None])
def test_a_digest_that_is_none_is_refused(folder, digest):
    (folder / "model.xml").unlink()
    listed = json.loads((folder / MANIFEST).read_bytes())["files"]
    edit(folder, files=listed | {"model.xml": digest})
    assert "manifest.json.files" in refusal(folder)


@pytest.mark.parametrize("files", [{"model.xml": 1}, {}, [], None])
def test_a_list_of_files_that_is_none_is_refused(folder, files):
    edit(folder, files=files)
    refusal(folder)


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
@pytest.mark.parametrize("name", ["threshold", "slope", "intercept"])
def test_a_number_that_is_none_is_refused(folder, name, value):
    edit_use(folder, **{name: float(value)})
    assert name in refusal(folder)


def test_a_folder_without_a_manifest_says_what_to_do(folder):
    (folder / MANIFEST).unlink()
    assert refusal(folder).endswith("train again")


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    refusal(tmp_path / "package")


def test_packages_hold_no_code_and_no_pickle():
    assert {".onnx", ".xml", ".bin", ".json"} == SUFFIXES
