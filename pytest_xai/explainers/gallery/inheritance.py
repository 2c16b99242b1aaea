"""Explainers of one's own that promise what a method of the gallery promises."""

import inspect
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from pytest_xai.explainers.gallery.lookup import get
from pytest_xai.protocol import explainer

__all__ = ["like"]

T = TypeVar("T")


def like(spec: str, **options: object) -> Callable[[T], T]:
    """Give an explainer the claims and traits of a method of the gallery.

    For wrappers and reimplementations: whoever says to be integrated gradients is checked for
    what integrated gradients promise.

        >>> import pytest_xai as xai
        >>> @xai.explainers.like("captum:IntegratedGradients", steps=20)
        ... def mine(model, inputs, targets, *, baseline): ...

    Args:
        spec: a name of the gallery, as for `get`.
        **options: its options; claims may depend on them.

    Returns:
        A decorator for a function or a class, which returns it unchanged but for its traits. The
        explainer is called with the baseline only if it has a parameter of that name.

    Raises:
        UnknownName: the gallery has no such explainer.
        InvalidArgument: it has no such option, or the option no such value.
    """
    traits = asdict(get(spec, **options).traits)

    def describe(target: T) -> T:
        takes = "baseline" in inspect.signature(_called(target)).parameters
        own = {"library": "", "needs_baseline": traits["needs_baseline"] and takes}
        described: T = explainer(**{**traits, **own})(target)
        return described

    return describe


def _called(target: object) -> Callable[..., object]:
    """What runs when it explains: the method of a class, the function itself."""
    found: Callable[..., object] = target.__call__ if isinstance(target, type) else target  # type: ignore[assignment]  # unbound
    return found
