"""Records that describe one explainer of the gallery: factory, claims, cost and inputs."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pytest_xai.protocol import Traits

__all__ = ["ANY_INPUTS", "IMAGES", "KINDS", "SPATIAL", "Claim", "Entry", "Variant", "claims"]

# Kinds of inputs by their number of dimensions.
KINDS = {2: "table", 3: "signal", 4: "image", 5: "volume"}
ANY_INPUTS = frozenset(KINDS.values())
SPATIAL = ANY_INPUTS - {"table"}
IMAGES = frozenset({"image"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A property that a paper claims for a method, as the name of the check for it.

    Attributes:
        check: name of the check that the method should pass.
        source: key in docs/references.bib of the paper that states or proves the property.
        condition: the condition under which the claim holds, in words; empty if there is none.
        when: values of options for which the claim is made; other options may have any value.
    """

    check: str
    source: str
    condition: str = ""
    when: Mapping[str, object] = field(default_factory=dict)

    def holds(self, options: Mapping[str, object]) -> bool:
        """Return whether the claim is made for these values of all options."""
        return all(options[name] == value for name, value in self.when.items())


def claims(source: str, *checks: str) -> tuple[Claim, ...]:
    """Return the claims that one paper makes without conditions.

    Args:
        source: the key of the paper in docs/references.bib.
        *checks: names of checks.
    """
    return tuple(Claim(check=check, source=source) for check in checks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """Options with which an explainer computes the map of another method.

    Attributes:
        method: the name of that method, as a key of the subjects' truths.
        when: values of options that make this variant; other options may have any value.
    """

    method: str
    when: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One explainer of the gallery.

    Attributes:
        factory: builds the callable from keyword options; the first line of its docstring is the
            summary.
        method: name of the method, by which checks look up the right map.
        variants: variants of the method; the first one that fits the options replaces ``method``.
        source: key of the paper in docs/references.bib.
        cost: model evaluations per image; an option's name in braces is replaced by its value.
        claims: the properties that papers claim for the method.
        sign: the meaning of the attributions' sign, as in `Traits`; it counts only if
            ``sign_convention`` is claimed.
        inputs: the kinds of inputs that it explains, among "table", "signal", "image", "volume".
        stochastic: whether maps depend on the seed.
        class_agnostic: whether maps are independent of the target.
        needs_baseline: whether it is called with the subject's baseline.
    """

    factory: Callable[..., Callable[..., Tensor]]
    method: str | None = None
    variants: tuple[Variant, ...] = ()
    source: str = ""
    cost: str = ""
    claims: tuple[Claim, ...] = ()
    sign: str | None = None
    inputs: frozenset[str] = ANY_INPUTS
    stochastic: bool = False
    class_agnostic: bool = False
    needs_baseline: bool = False

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, object]:
        """The names of the options with their defaults."""
        parameters = inspect.signature(self.factory).parameters
        return {name: parameter.default for name, parameter in parameters.items()}

    def traits(self, options: Mapping[str, object], *, library: str) -> Traits:
        """Return the traits of the explainer with these options and defaults for the others.

        Args:
            options: values of some options.
            library: name and version of the library that implements the explainer.
        """
        values = {**self.options, **options}
        claimed = frozenset(claim.check for claim in self.claims if claim.holds(values))
        return Traits(
            claims=claimed,
            sign=self.sign if "sign_convention" in claimed else None,
            method=self._method(values),
            stochastic=self.stochastic,
            class_agnostic=self.class_agnostic,
            needs_baseline=self.needs_baseline,
            source=self.source,
            cost=self.cost.format(**values),
            library=library,
        )

    def _method(self, values: Mapping[str, object]) -> str | None:
        for variant in self.variants:
            if all(values[name] == value for name, value in variant.when.items()):
                return variant.method
        return self.method
