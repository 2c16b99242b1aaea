"""Progress of a long check: one note on the terminal's current line, which erases itself.

It stands to the right of the dots, with the cursor put back: pytest goes on where it was.
"""

import time
from collections.abc import Callable

__all__ = ["ProgressNote"]

_SAVE, _RESTORE, _ERASE = "\x1b7", "\x1b8", "\x1b[K"
# Shorter checks need no note, and more notes than this per second nobody reads.
_FIRST_AFTER = 0.5
_EVERY = 0.1
_LEAST_ROOM = 16


class ProgressNote:
    """Says how far one check is; call it as ``progress(done, total, evaluations)``.

    Args:
        label: what is running.
        write: puts text on the terminal, at once.
        room: free columns to the right of the cursor.
        clock: seconds that only go up.
    """

    def __init__(
        self,
        label: str,
        *,
        write: Callable[[str], None],
        room: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._write = write
        self._room = room
        self._clock = clock
        self._next = clock() + _FIRST_AFTER
        self._shown = False

    def __call__(self, done: int, total: int, evaluations: int) -> None:
        """Show the note, unless one was shown a moment ago or the line is full.

        Args:
            done: images finished.
            total: images at the most.
            evaluations: model evaluations spent so far.
        """
        now, room = self._clock(), self._room()
        if now < self._next or room < _LEAST_ROOM:
            return
        self._next = now + _EVERY
        note = f"  {self._label} {done}/{total} images, {evaluations:,} evaluations"
        # One column stays free: a full line would wrap, and the cursor could not go back.
        self._write(f"{_SAVE}{note[: room - 1]}{_ERASE}{_RESTORE}")
        self._shown = True

    def close(self) -> None:
        """Erase the note."""
        if self._shown:
            self._write(_ERASE)
            self._shown = False
