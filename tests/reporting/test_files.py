"""A report is written to its file whole or not at all."""

import stat

import pytest

from pytest_xai.reporting import files


def test_a_report_is_written_whole_with_the_rights_of_any_file(tmp_path):
    path = tmp_path / "new" / "report.json"
    files.write(path, "first")
    files.write(path, "second: ä")
    assert path.read_text(encoding="utf-8") == "second: ä"
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]
    (tmp_path / "other").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_file_that_cannot_be_replaced_stays_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "report.json"
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"report\.json"):
        files.write(path, "text")
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert (path / "in the way").is_dir()
