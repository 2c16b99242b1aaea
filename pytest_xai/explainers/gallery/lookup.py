"""Functions that list the explainers of the gallery, describe them and build one by name."""

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument, NotApplicable, UnknownName
from pytest_xai.explainers.adapting.entry import KINDS, Claim, Entry
from pytest_xai.explainers.gallery.catalogue import ENTRIES, library_of
from pytest_xai.explainers.gallery.methods import METHODS, Method
from pytest_xai.protocol import NamedExplainer, Traits

__all__ = ["GalleryEntry", "Method", "describe", "get", "methods", "names"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GalleryEntry:
    """The description of one explainer of the gallery.

    Attributes:
        spec: the name for `get`.
        summary: a description of one line.
        options: the options with their defaults.
        traits: the traits (claims, source, cost, library) for the default options.
        claims: all claims, each with its paper and its conditions.
        inputs: the kinds of inputs that it explains.
    """

    spec: str
    summary: str
    options: Mapping[str, object]
    traits: Traits
    claims: tuple[Claim, ...]
    inputs: frozenset[str]


def names() -> list[str]:
    """Return the names of all explainers of the gallery, in a fixed order."""
    return list(ENTRIES)


def describe() -> list[GalleryEntry]:
    """Describe all explainers of the gallery, in the order of `names`."""
    return [
        GalleryEntry(
            spec=spec,
            summary=entry.summary,
            options=entry.options,
            traits=entry.traits({}, library=_library(spec)),
            claims=entry.claims,
            inputs=entry.inputs,
        )
        for spec, entry in ENTRIES.items()
    ]


def methods() -> dict[str, Method]:
    """Return the implementation that `get` picks for each method named without a library."""
    return dict(METHODS)


def get(spec: str, **options: object) -> NamedExplainer:
    """Build an explainer of the gallery.

    Args:
        spec: the name of an explainer, such as ``"captum:LayerGradCam"``, or of a method without a
            library, such as ``"DeepLift"``. In the second case the implementation that is right
            on the most networks is chosen.
        **options: options of the explainer, such as ``layer="layer4"``; `describe` lists them.

    Returns:
        The explainer with its name in the gallery, which includes the library. It is called with
        (model, inputs, targets), and with the keyword ``baseline`` if its traits say so. The call
        raises `MissingDependency` if the library is not installed.

    Raises:
        UnknownName: the gallery has no such explainer.
        InvalidArgument: the explainer has no such option, or a value is not allowed.
    """
    if not isinstance(spec, str):
        raise InvalidArgument.of("spec", got=repr(spec), expected="a name of the gallery")
    if spec in METHODS:
        spec = METHODS[spec].spec
    if spec not in ENTRIES:
        raise UnknownName.among("explainer", spec, [*ENTRIES, *METHODS])
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
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    return NamedExplainer(
        name=spec,
        call=_on_its_inputs(spec, call, entry.inputs),
        traits=entry.traits(options, library=_library(spec)),
        origin=f'xai.explainers.get("{spec}"{given})',
        with_steps=_stepper(spec, entry, options),
    )


def _stepper(
    spec: str, entry: Entry, options: Mapping[str, object]
) -> Callable[[int], Callable[..., Tensor]] | None:
    """Return a function that rebuilds the explainer with more ``steps``, if it has the option."""
    if "steps" not in entry.options:
        return None

    def build(steps: int) -> Callable[..., Tensor]:
        return _on_its_inputs(spec, entry.factory(**{**options, "steps": steps}), entry.inputs)

    return build


def _on_its_inputs(
    spec: str, call: Callable[..., Tensor], kinds: frozenset[str]
) -> Callable[..., Tensor]:
    @functools.wraps(call)
    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, **baseline: Tensor) -> Tensor:
        kind = KINDS.get(inputs.ndim)
        if kind not in kinds:
            expected = " or ".join(each for each in KINDS.values() if each in kinds)
            raise NotApplicable(
                f"{spec} explains inputs that are a {expected}, got shape {tuple(inputs.shape)}"
            )
        return call(model, inputs, targets, **baseline)

    return explain


def _library(spec: str) -> str:
    library = library_of(spec)
    return f"{library.distribution} {library.version or '(not installed)'}"


def _listing(entry: Entry) -> str:
    options = ", ".join(f"{name}={default!r}" for name, default in entry.options.items())
    return f"Its options: {options or 'none'}"
