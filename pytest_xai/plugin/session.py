"""What a process checks with: everything registered, and the benches made of it."""

import contextlib
import traceback
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from pytest_xai.errors import XaiError
from pytest_xai.plugin.options import resolve

if TYPE_CHECKING:
    from pytest_xai.plugin.cases import Benches
    from pytest_xai.plugin.model_repo import Registry

__all__ = ["Workshop", "usage_errors", "workshop"]

_STASH = pytest.StashKey["Workshop"]()


def workshop(config: pytest.Config) -> "Workshop":
    """The one of this process."""
    if _STASH not in config.stash:
        config.stash[_STASH] = Workshop(config)
        config.add_cleanup(config.stash[_STASH].close)
    return config.stash[_STASH]


class Workshop:
    """What is registered, and the benches made of it: one per process, also without ``--xai``."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @cached_property
    def registry(self) -> "Registry":
        """What pyproject.toml registers, then what hooks do; for a demo the demo alone.

        Raises:
            pytest.UsageError: a registration is wrong.
        """
        from pytest_xai.plugin.demo import fill
        from pytest_xai.plugin.model_repo import Registry

        options, registry = resolve(self._config), Registry()
        with usage_errors():
            if options.demo or options.gallery:
                fill(registry, gallery=options.gallery)
                return registry
            registry.read_table(options.table, options.root)
            try:
                self._config.hook.pytest_xai_register(registry=registry)
            except XaiError:
                raise
            except Exception as error:
                raise pytest.UsageError(
                    f"pytest_xai_register raised {type(error).__name__}: {error}\n"
                    f"{traceback.format_exc()}"
                ) from error
        return registry

    @cached_property
    def benches(self) -> "Benches":
        """The benches of the registered subjects."""
        from pytest_xai.plugin.cases import Benches

        options = resolve(self._config)
        return Benches(self.registry.subjects, seed=options.seed, device=options.device)

    def close(self) -> None:
        """Give all models back as they were."""
        if "benches" in self.__dict__:
            self.benches.close()


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turn errors of this package into pytest's for a user's mistake."""
    try:
        yield
    except XaiError as error:
        raise pytest.UsageError(str(error)) from error
