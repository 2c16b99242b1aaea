"""The session of this process: everything that is registered, and the benches made of it."""

import contextlib
import traceback
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from pytest_xai.errors import XaiError
from pytest_xai.plugin.options import resolve

if TYPE_CHECKING:
    from pytest_xai.plugin.benches import Benches
    from pytest_xai.plugin.model_repo import ModelRepo

__all__ = ["Session", "session_of", "usage_errors"]

_STASH = pytest.StashKey["Session"]()


def session_of(config: pytest.Config) -> "Session":
    """Return the session of this process; it is created on first use."""
    if _STASH not in config.stash:
        config.stash[_STASH] = Session(config)
        config.add_cleanup(config.stash[_STASH].close)
    return config.stash[_STASH]


class Session:
    """The registrations and the benches of one process; it also exists without ``--xai``."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @cached_property
    def repo(self) -> "ModelRepo":
        """The registrations of pyproject.toml, then those of hooks; for a demo those of the demo.

        Raises:
            pytest.UsageError: a registration is wrong.
        """
        from pytest_xai.plugin.demo import fill
        from pytest_xai.plugin.model_repo import ModelRepo

        options, repo = resolve(self._config), ModelRepo()
        with usage_errors():
            if options.run.demo or options.run.gallery:
                fill(repo, gallery=options.run.gallery)
                return repo
            repo.read_table(options.table, options.root)
            try:
                self._config.hook.pytest_xai_register(registry=repo)
            except XaiError:
                raise
            except Exception as error:
                raise pytest.UsageError(
                    f"pytest_xai_register raised {type(error).__name__}: {error}\n"
                    f"{traceback.format_exc()}"
                ) from error
        return repo

    @cached_property
    def benches(self) -> "Benches":
        """The benches of the registered subjects."""
        from pytest_xai.plugin.benches import Benches

        run = resolve(self._config).run
        return Benches(self.repo.subjects, seed=run.seed, device=run.device)

    def close(self) -> None:
        """Give all models back as they were."""
        if "benches" in self.__dict__:
            self.benches.close()


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turn errors of this package into pytest's error for a user's mistake."""
    try:
        yield
    except XaiError as error:
        raise pytest.UsageError(str(error)) from error
