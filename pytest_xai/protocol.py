"""The interface of an explainer, the description of an explainer, and its name in reports."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, overload, runtime_checkable

from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument

__all__ = [
    "NEEDS_NEW",
    "SIGNS",
    "Archive",
    "Explainer",
    "NamedExplainer",
    "Traits",
    "archive_of",
    "explainer",
    "named",
    "traits_of",
]

_ATTRIBUTE = "__xai_traits__"

# Reason why a check does not apply to stored maps.
NEEDS_NEW = "needs new explanations; these maps are stored"

# The declarable meanings of an attribution's sign.
SIGNS = ("non_negative", "evidence")
_SIGN_CHECK = "sign_convention"

# Names of the keyword with which an explainer accepts a number of steps.
_STEPS = ("steps", "n_steps")

T = TypeVar("T")


@runtime_checkable
class Explainer(Protocol):
    """Anything callable as ``explainer(model, inputs, targets) -> attributions``.

    ``inputs`` is (N, *shape), ``targets`` LongTensor (N,); the output explained is
    ``model(inputs)[n, targets[n]]``. The attributions have the inputs' shape, or
    (N, 1, *spatial) or (N, *spatial) for a map without channels.
    """

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor, /) -> Tensor:
        """Explain ``model(inputs)[n, targets[n]]`` for every n."""


@runtime_checkable
class Archive(Protocol):
    """An explainer that only has stored maps of one subject's inputs and cannot make new ones.

    Calling it like other explainers raises `NotApplicable`.
    """

    def stored_maps(self, images: Sequence[int], count: int) -> Tensor:
        """Return the maps of the inputs at these positions; the subject has ``count`` inputs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """The description of an explainer.

    Attributes:
        name: its name in reports; None: the callable's own name.
        claims: names of the checks that the explainer claims to pass.
        sign: the meaning of an attribution's sign. "non_negative": no attribution is negative;
            "evidence": positive values are evidence for the target, negative values against it;
            None: no meaning is declared. A declared sign also claims ``sign_convention``.
        method: method family ("gradient", "integrated_gradients", "deep_lift_rescale", "lrp", ...).
        stochastic: the maps depend on the seed of the global random generators.
        class_agnostic: the maps do not depend on the target.
        needs_baseline: the explainer is called with the keyword ``baseline``, (1 or N, *shape).
        source: key of the paper in docs/references.bib.
        cost: model evaluations per image, in words.
        library: name and version of the library that implements the method.
    """

    name: str | None = None
    claims: frozenset[str] = frozenset()
    sign: str | None = None
    method: str | None = None
    stochastic: bool = False
    class_agnostic: bool = False
    needs_baseline: bool = False
    source: str = ""
    cost: str = ""
    library: str = ""

    def __post_init__(self) -> None:
        """Add the claim that a declared sign implies.

        Raises:
            InvalidArgument: ``sign`` is unknown.
        """
        if self.sign is None:
            return
        if self.sign not in SIGNS:
            expected = f"one of {SIGNS}, or None to declare no meaning"
            raise InvalidArgument.of("sign", got=repr(self.sign), expected=expected)
        object.__setattr__(self, "claims", self.claims | {_SIGN_CHECK})


@overload
def explainer(function: T, /) -> T: ...
@overload
def explainer(
    function: None = None,
    /,
    *,
    name: str | None = None,
    claims: Iterable[str] = (),
    sign: str | None = None,
    method: str | None = None,
    stochastic: bool = False,
    class_agnostic: bool = False,
    needs_baseline: bool = False,
    source: str = "",
    cost: str = "",
    library: str = "",
) -> Callable[[T], T]: ...
def explainer(
    function: T | None = None,
    /,
    *,
    name: str | None = None,
    claims: Iterable[str] = (),
    sign: str | None = None,
    method: str | None = None,
    stochastic: bool = False,
    class_agnostic: bool = False,
    needs_baseline: bool = False,
    source: str = "",
    cost: str = "",
    library: str = "",
) -> T | Callable[[T], T]:
    """Describe an explainer. The decorator works with and without arguments.

    It can decorate a function, a class or an instance. The object is returned unchanged except
    for one new attribute, its `Traits`. The arguments are the attributes of `Traits`.

    Raises:
        InvalidArgument: ``claims`` is a single string, ``sign`` is unknown, or no attribute can
            be set on the object.
    """
    if isinstance(claims, str):
        raise InvalidArgument.of("claims", got=repr(claims), expected="a set of names of checks")
    traits = Traits(
        name=name,
        claims=frozenset(claims),
        sign=sign,
        method=method,
        stochastic=stochastic,
        class_agnostic=class_agnostic,
        needs_baseline=needs_baseline,
        source=source,
        cost=cost,
        library=library,
    )

    def describe(target: T) -> T:
        try:
            setattr(target, _ATTRIBUTE, traits)
        except (AttributeError, TypeError) as error:
            raise InvalidArgument.of(
                "explainer",
                got=f"a {type(target).__name__}, on which no attribute can be set",
                expected="a function, a class or an instance; wrap it in a function",
            ) from error
        return target

    return describe if function is None else describe(function)


def traits_of(explainer: object) -> Traits:
    """Return the traits that the decorator set, or the default traits."""
    traits = getattr(explainer, _ATTRIBUTE, None)
    return traits if isinstance(traits, Traits) else Traits()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NamedExplainer:
    """An explainer with its name in reports and its traits.

    Attributes:
        name: its name in reports.
        call: the explainer itself.
        traits: the description of the explainer.
        origin: a Python expression that creates it, for code snippets; empty if the user passed
            the object itself.
        with_steps: returns a callable that uses the given number of steps; None if the explainer
            has no such option.
    """

    name: str
    call: Callable[..., object]
    traits: Traits
    origin: str = ""
    with_steps: Callable[[int], Callable[..., object]] | None = None


def named(explainer: object, name: str | None = None) -> NamedExplainer:
    """Name an explainer: the given name, the decorator's name, or the callable's own name.

    Raises:
        InvalidArgument: the object is not callable, or is a class instead of an instance.
    """
    if isinstance(explainer, NamedExplainer):
        if name is None:
            return explainer
        return replace(explainer, name=name)
    if isinstance(explainer, type):
        raise InvalidArgument.of(
            "explainer",
            got=f"the class {explainer.__name__}",
            expected=f"an instance of it: {explainer.__name__}()",
        )
    if not callable(explainer):
        raise InvalidArgument.of(
            "explainer",
            got=type(explainer).__name__,
            expected="a callable explainer(model, inputs, targets) -> attributions",
        )
    traits = traits_of(explainer)
    own = getattr(explainer, "__name__", None) or type(explainer).__name__
    return NamedExplainer(
        name=name or traits.name or str(own),
        call=explainer,
        traits=traits,
        with_steps=_by_keyword(explainer),
    )


def _by_keyword(call: Callable[..., object]) -> Callable[[int], Callable[..., object]] | None:
    """Return a function that sets the number of steps by keyword; None without such a keyword."""
    try:
        parameters = inspect.signature(call).parameters
    except (TypeError, ValueError):  # compiled code may have no signature
        return None
    keyword = next((name for name in _STEPS if name in parameters), None)
    if keyword is None:
        return None
    return lambda steps: functools.partial(call, **{keyword: steps})


def archive_of(explainer: NamedExplainer) -> Archive | None:
    """Return the explainer as an archive of stored maps; None if it computes maps when called."""
    call = inspect.unwrap(explainer.call)
    return call if isinstance(call, Archive) else None
