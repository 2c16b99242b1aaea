"""The gallery: explainers of other libraries behind one protocol, and controls, by name.

    >>> from pytest_xai import explainers
    >>> ig = explainers.get("captum:IntegratedGradients", steps=20)
    >>> ig.traits.cost
    '20 forward + 20 backward'

A library is imported when one of its explainers is called; names and descriptions need none.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.explainers.catalogue import ENTRIES, Entry
from pytest_xai.protocol import NamedExplainer, Traits

__all__ = ["GalleryEntry", "describe", "get", "names"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GalleryEntry:
    """What a listing says of one explainer of the gallery.

    Attributes:
        spec: the name that `get` takes.
        summary: what it is, in one line.
        options: its options with their defaults.
        traits: its claims, source, cost and library, with the options at their defaults.
    """

    spec: str
    summary: str
    options: Mapping[str, object]
    traits: Traits


def names() -> list[str]:
    """Names of all explainers of the gallery, in a fixed order."""
    return list(ENTRIES)


def describe() -> list[GalleryEntry]:
    """All explainers of the gallery, in the order of `names`."""
    return [
        GalleryEntry(
            spec=spec,
            summary=entry.summary,
            options=entry.options,
            traits=entry.traits(spec, {}),
        )
        for spec, entry in ENTRIES.items()
    ]


def get(spec: str, **options: object) -> NamedExplainer:
    """Build an explainer of the gallery.

    Args:
        spec: its name, such as ``"captum:LayerGradCam"``.
        **options: its own options, such as ``layer="layer4"``; `describe` lists them.

    Returns:
        The explainer under its gallery name. It is called with (model, inputs, targets), and
        with the keyword ``baseline`` where its traits say so. It raises `MissingDependency` when
        it is called and its library is not installed.

    Raises:
        UnknownName: the gallery has no such explainer.
        InvalidArgument: it has no such option, or the option no such value.
    """
    if not isinstance(spec, str):
        raise InvalidArgument.of("spec", got=repr(spec), expected="a name of the gallery")
    if spec not in ENTRIES:
        raise UnknownName.among("explainer", spec, ENTRIES)
    entry = ENTRIES[spec]
    for name in options:
        if name not in entry.options:
            near = difflib.get_close_matches(name, entry.options, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InvalidArgument(f"{spec} has no option {name!r}{hint}. {_listing(entry)}")
    try:
        call = entry.factory(**options)
    except InvalidArgument as error:
        raise InvalidArgument(f"{spec}: {error}. {_listing(entry)}") from error
    return NamedExplainer(name=spec, call=call, traits=entry.traits(spec, options))


def _listing(entry: Entry) -> str:
    options = ", ".join(f"{name}={default!r}" for name, default in entry.options.items())
    return f"Its options: {options or 'none'}"
