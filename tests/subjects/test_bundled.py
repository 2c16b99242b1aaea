import hashlib
import shutil
from pathlib import Path

import pytest

from pytest_xai.errors import BrokenData
from pytest_xai.subjects import bundled, load_digits

FOLDER = Path(__file__).parents[2] / "fixtures" / "digits"
FILES = ("digits.safetensors", "model.safetensors")


def test_files_are_small():
    assert (FOLDER / "model.safetensors").stat().st_size < 300_000
    assert (FOLDER / "permuted.safetensors").stat().st_size < 300_000
    assert (FOLDER / "digits.safetensors").stat().st_size < 120_000
    assert (FOLDER / "digits.json").stat().st_size < 2_000


@pytest.mark.parametrize("file", [*FILES, "permuted.safetensors"])
def test_record_has_the_sha256_of_each_file(record, file):
    assert record["sha256"][file] == hashlib.sha256((FOLDER / file).read_bytes()).hexdigest()


def test_record_says_where_the_data_come_from(record):
    assert record["images"] == {"train": 1437, "held_out": 360}
    assert "Optical Recognition of Handwritten Digits" in record["source"]
    assert "CC BY 4.0" in record["licence"]


@pytest.mark.parametrize("file", FILES)
def test_changed_byte_is_noticed(copy, file):
    load_digits(1)
    content = bytearray((copy / file).read_bytes())
    content[-1] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(BrokenData, match=f"{file} differs from the bundled file.*Install"):
        load_digits(1)


@pytest.mark.parametrize("file", FILES)
def test_missing_file_is_named(copy, file):
    (copy / file).unlink()
    with pytest.raises(BrokenData, match=f"{file} cannot be read: No such file.*Install"):
        load_digits(1)


def test_the_weights_of_permuted_labels_are_read_when_they_are_needed(copy):
    (copy / "permuted.safetensors").unlink()
    subject = load_digits(1)
    with pytest.raises(BrokenData, match="permuted.safetensors cannot be read"):
        subject.permuted()


def test_file_without_entry_in_the_record_is_not_read(copy):
    shutil.copy(copy / "model.safetensors", copy / "other.safetensors")
    with pytest.raises(
        BrokenData, match=r"other.safetensors differs from the bundled file.* says None"
    ):
        bundled.read_tensors(copy, "other.safetensors")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"{", "is not valid JSON"),
        (b"\xff", "is not valid JSON"),
        (b"[]", "is not a valid record"),
        (b'{"sha256": 1}', "is not a valid record"),
    ],
)
def test_broken_record_is_refused(copy, content, message):
    (copy / "digits.json").write_bytes(content)
    with pytest.raises(BrokenData, match=f"digits.json {message}.*Install"):
        load_digits(1)


def test_missing_folder_is_refused_with_the_places_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "_PLACES", (tmp_path / "wheel", tmp_path / "clone"))
    with pytest.raises(
        BrokenData, match=r"bundled digits are missing: neither .*wheel.* nor .*clone"
    ):
        load_digits(1)


def test_installed_files_come_before_those_beside_the_package(tmp_path, monkeypatch):
    for place in ("wheel", "clone"):
        (tmp_path / place / "digits").mkdir(parents=True)
        (tmp_path / place / "digits" / "digits.json").write_text("{}")
    package = Path(bundled.__file__).parents[1]
    places = bundled._PLACES
    assert places == (package / "fixtures", package.parent / "fixtures")
    monkeypatch.setattr(bundled, "_PLACES", (tmp_path / "wheel", tmp_path / "clone"))
    assert bundled.find_folder("digits") == tmp_path / "wheel" / "digits"
    (tmp_path / "wheel" / "digits" / "digits.json").unlink()
    assert bundled.find_folder("digits") == tmp_path / "clone" / "digits"
