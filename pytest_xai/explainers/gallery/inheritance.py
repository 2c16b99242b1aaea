"""A decorator that gives a user's explainer the claims of an explainer of the gallery."""

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

    It is meant for wrappers and reimplementations. An explainer that claims to be integrated
    gradients is checked for all claims of integrated gradients.

        >>> import pytest_xai as xai
        >>> @xai.explainers.like("captum:IntegratedGradients", steps=20)
        ... def mine(model, inputs, targets, *, baseline): ...

    Args:
        spec: name of an explainer of the gallery, as for `get`.
        **options: options of that explainer, on which its claims may depend.

    Returns:
        A decorator for a function or a class, which sets its traits and changes nothing else. The
        explainer is called with the baseline only if it has a parameter of that name.

    Raises:
        UnknownName: the gallery has no such explainer.
        InvalidArgument: the explainer has no such option, or a value is not allowed.
    """
    traits = asdict(get(spec, **options).traits)

    def describe(target: T) -> T:
        takes = "baseline" in inspect.signature(_called(target)).parameters
        own = {"library": "", "needs_baseline": traits["needs_baseline"] and takes}
        described: T = explainer(**{**traits, **own})(target)
        return described

    return describe


def _called(target: object) -> Callable[..., object]:
    """Return the function that explains: ``__call__`` of a class, or the function itself."""
    found: Callable[..., object] = target.__call__ if isinstance(target, type) else target  # type: ignore[assignment]  # unbound
    return found
