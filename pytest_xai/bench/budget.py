"""What each verdict owes: its own evaluations, and those that made what it shares with others.

A tensor that several checks need is made once, by whichever asks first. Had the others it for
nothing, then what a budget holds would depend on the order of the checks, on the selection and on
the number of workers. So every check owes all that it uses, as though it were alone, once.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pytest_xai.errors import XaiError

__all__ = ["Account", "Ledger", "OutOfBudget"]


class OutOfBudget(XaiError):
    """An evaluation was refused; `pytest_xai.engine.run_check` makes it an undecided verdict."""


@dataclass(slots=True)
class Account:
    """Of one verdict.

    Attributes:
        limit: model evaluations that it may owe; None: as many as it likes.
        owed: those that it owes so far.
        refused: it asked for more; whatever it has found since then is worth nothing, even
            where a guest has caught the error.
        paid: keys of the shared artefacts that it owes already.
    """

    limit: int | None = None
    owed: int = 0
    refused: bool = False
    paid: set[Hashable] = field(default_factory=set)

    def require(self, evaluations: int) -> None:
        """Ask whether so many more may be owed.

        Raises:
            OutOfBudget: they may not.
        """
        if self.limit is not None and self.owed + evaluations > self.limit:
            self.refused = True
        if self.refused:
            raise OutOfBudget(f"the budget of {self.limit} evaluations is spent")


@dataclass(slots=True)
class _Bill:
    """What a shared artefact took: evaluations, and other artefacts."""

    own: int = 0
    parts: list[Hashable] = field(default_factory=list)


class Ledger:
    """The accounts and the bills of one bench.

    Attributes:
        account: of the verdict that is being worked on.
    """

    def __init__(self) -> None:
        self.account = Account()
        self._bills: dict[Hashable, _Bill] = {}
        self._open: list[_Bill] = []

    def charge(self, evaluations: int) -> None:
        """Evaluations were made."""
        self.account.owed += evaluations
        if self._open:
            self._open[-1].own += evaluations

    @contextmanager
    def making(self, key: Hashable) -> Iterator[None]:
        """What is evaluated within goes to the bill of a new artefact, if it comes to be."""
        bill = _Bill()
        self._open.append(bill)
        try:
            yield
        finally:
            self._open.pop()
        self._bills[key] = bill
        self.account.paid.add(key)
        self._enter(key)

    def use(self, key: Hashable) -> None:
        """An artefact that is there is used: the account owes it, and all that went into it.

        Raises:
            OutOfBudget: it may not owe that much.
        """
        self._owe(key)
        self._enter(key)

    def _owe(self, key: Hashable) -> None:
        if key in self.account.paid:
            return
        bill = self._bills[key]
        self.account.require(bill.own)
        self.account.paid.add(key)
        # Not `charge`: the evaluations are on the bill of this artefact, and on no other.
        self.account.owed += bill.own
        for part in bill.parts:
            self._owe(part)

    def _enter(self, key: Hashable) -> None:
        if self._open:
            self._open[-1].parts.append(key)
