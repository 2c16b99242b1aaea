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

# Why a check has nothing to say of maps that were made before.
NEEDS_NEW = "needs new explanations; these maps are stored"

# What the sign of an attribution can be declared to mean.
SIGNS = ("non_negative", "evidence")
_SIGN_CHECK = "sign_convention"

# Keywords by which an explainer takes a number of steps.
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
    """An explainer that can make no map, but has those of one subject's inputs.

    Called like any other, it raises `NotApplicable`.
    """

    def stored_maps(self, images: Sequence[int], count: int) -> Tensor:
        """Maps of the inputs at these positions of a subject that has ``count`` inputs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What the gate should know of an explainer.

    Attributes:
        name: how reports call it; None: the callable's own name.
        claims: names of the checks that it promises to pass.
        sign: what the sign of an attribution means: "non_negative": there is none below zero;
            "evidence": above zero is evidence for the target, below zero against it; None: nothing
            is said. To declare one is to claim the check ``sign_convention``.
        method: its family ("gradient", "integrated_gradients", "deep_lift_rescale", "lrp", ...).
        stochastic: its maps depend on the seed of the global random generators.
        class_agnostic: its maps do not depend on the target.
        needs_baseline: it is called with the keyword ``baseline``, (1 or N, *shape).
        source: key of the paper in docs/references.bib.
        cost: model evaluations per image, in words.
        library: what implements it.
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
        """Add the claim that a declared sign is.

        Raises:
            InvalidArgument: there is no such sign.
        """
        if self.sign is None:
            return
        if self.sign not in SIGNS:
            expected = f"one of {SIGNS}, or None: nothing is said of it"
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
    """Describe an explainer; bare or with arguments, on a function or on a class.

    The decorated object is returned unchanged but for one attribute that holds its `Traits`,
    which see for the arguments.

    Raises:
        InvalidArgument: ``claims`` is a single string, ``sign`` is none there is, or the object
            takes no attributes.
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
                got=f"a {type(target).__name__}, which takes no attributes",
                expected="a function, a class or an instance; wrap it in a function",
            ) from error
        return target

    return describe if function is None else describe(function)


def traits_of(explainer: object) -> Traits:
    """The traits that the decorator left, or none but the defaults."""
    traits = getattr(explainer, _ATTRIBUTE, None)
    return traits if isinstance(traits, Traits) else Traits()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NamedExplainer:
    """An explainer with the name that reports use and its traits.

    Attributes:
        name: how reports call it.
        call: the explainer itself.
        traits: what the gate knows of it.
        origin: a Python expression that makes it, for snippets; empty: it was passed as it is.
        with_steps: makes the call that goes so many steps; None: it takes no number of steps.
    """

    name: str
    call: Callable[..., object]
    traits: Traits
    origin: str = ""
    with_steps: Callable[[int], Callable[..., object]] | None = None


def named(explainer: object, name: str | None = None) -> NamedExplainer:
    """Give an explainer its name: the one passed, the decorator's, or the callable's own.

    Raises:
        InvalidArgument: not callable, or a class where an instance was meant.
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
    """How a callable is asked for more steps: by its keyword, if it has one."""
    try:
        parameters = inspect.signature(call).parameters
    except (TypeError, ValueError):  # compiled code says nothing of its parameters
        return None
    keyword = next((name for name in _STEPS if name in parameters), None)
    if keyword is None:
        return None
    return lambda steps: functools.partial(call, **{keyword: steps})


def archive_of(explainer: NamedExplainer) -> Archive | None:
    """The stored maps behind an explainer; None: it makes its maps when asked."""
    call = inspect.unwrap(explainer.call)
    return call if isinstance(call, Archive) else None
