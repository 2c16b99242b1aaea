"""The note of a long check: seldom, within the line, and gone when it ends."""

import os
import subprocess
import sys

import pytest

from pytest_xai.reporting.progress import ProgressNote

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")


class Screen:
    """Takes what is written, and has a clock that is set by hand."""

    def __init__(self, room=60):
        self.text = ""
        self.free = room
        self.now = 100.0

    def note(self):
        return ProgressNote(
            "net::ig::shape",
            write=self.write,
            room=lambda: self.free,
            clock=lambda: self.now,
        )

    def write(self, text):
        self.text += text


def test_a_short_check_has_no_note():
    screen = Screen()
    note = screen.note()
    screen.now += 0.4
    note(1, 10, 100)
    note.close()
    assert screen.text == ""


def test_the_note_puts_the_cursor_back_and_erases_itself():
    screen = Screen()
    note = screen.note()
    screen.now += 0.6
    note(3, 10, 12_345)
    assert screen.text == "\x1b7  net::ig::shape 3/10 images, 12,345 evaluations\x1b[K\x1b8"
    note.close()
    assert screen.text.endswith("\x1b8\x1b[K")
    note.close()
    assert screen.text.count("\x1b[K") == 2


def test_notes_come_seldom():
    screen = Screen()
    note = screen.note()
    for _ in range(100):
        screen.now += 0.03
        note(1, 2, 3)
    assert 20 <= screen.text.count("\x1b7") <= 30


@pytest.mark.parametrize("room", [16, 17, 30, 46, 47, 48])
def test_the_note_stays_on_its_line(room):
    screen = Screen(room)
    note = screen.note()
    screen.now += 1
    note(3, 10, 12_345)
    shown = screen.text.removeprefix("\x1b7").removesuffix("\x1b[K\x1b8")
    assert len(shown) <= room - 1


def test_a_full_line_has_no_note():
    screen = Screen(15)
    note = screen.note()
    screen.now += 1
    note(3, 10, 100)
    assert screen.text == ""


SLOW = """
import time
import torch
import pytest_xai as xai

def load_subject():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    return xai.Subject(model, torch.rand(40, 1, 2, 2))

@xai.check(family="complexity", question="?", claim="It is slow.", source="design",
           scope="universal", limit_source="none")
def lasting(bench, explainer):
    time.sleep(0.7)
    return xai.Finding(values=bench.maps(explainer).flatten(1).sum(1) * 0)

def pytest_xai_register(registry):
    registry.subject("net", load_subject)
    registry.explainer("same", lambda model, inputs, targets: inputs)
"""


def on_a_terminal(folder, *arguments):
    """Output of pytest on a terminal of its own."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "--xai", "--xai-select=lasting", *arguments],
        cwd=folder,
        stdin=other,
        stdout=other,
        stderr=other,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(other)
    parts = []
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(main)
    assert process.wait() == 0
    return b"".join(parts).decode()


def test_pytest_shows_the_note_on_a_terminal_and_takes_it_away(tmp_path):
    (tmp_path / "conftest.py").write_text(SLOW)
    output = on_a_terminal(tmp_path)
    shown = "\x1b7  net::same::lasting 32/40 images, 0 evaluations\x1b[K\x1b8"
    assert shown in output
    after = output[output.rindex("\x1b8") + 2 :]
    assert after.startswith("\x1b[K")
    assert "1 passed" in after


@pytest.mark.slow
def test_no_note_for_the_quiet(tmp_path):
    (tmp_path / "conftest.py").write_text(SLOW)
    assert "\x1b7" not in on_a_terminal(tmp_path, "-q")
