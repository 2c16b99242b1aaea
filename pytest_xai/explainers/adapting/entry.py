"""What the gallery knows of one explainer: what builds it, promises, costs and takes."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pytest_xai.protocol import Traits

__all__ = ["ANY_INPUTS", "IMAGES", "KINDS", "SPATIAL", "Claim", "Entry", "Variant", "claims"]

# What inputs are, by their number of dimensions.
KINDS = {2: "table", 3: "signal", 4: "image", 5: "volume"}
ANY_INPUTS = frozenset(KINDS.values())
SPATIAL = ANY_INPUTS - {"table"}
IMAGES = frozenset({"image"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One promise of a method, and who made it.

    Attributes:
        check: name of the check that it promises to pass.
        source: key in docs/references.bib of the paper that promises or proves it.
        condition: what the promise asks of the model, in words; empty: nothing.
        when: options with the values for which the promise is made; others: any value.
    """

    check: str
    source: str
    condition: str = ""
    when: Mapping[str, object] = field(default_factory=dict)

    def holds(self, options: Mapping[str, object]) -> bool:
        """Whether it is made for these values of all options."""
        return all(options[name] == value for name, value in self.when.items())


def claims(source: str, *checks: str) -> tuple[Claim, ...]:
    """Promises that one paper makes without conditions.

    Args:
        source: its key in docs/references.bib.
        *checks: names of checks.
    """
    return tuple(Claim(check=check, source=source) for check in checks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """What a method is called with some options: its map is another one.

    Attributes:
        method: its name, as truths of subjects have it.
        when: options with the values that make it; others: any value.
    """

    method: str
    when: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One explainer of the gallery.

    Attributes:
        factory: builds the callable from keyword options; its first docstring line is the summary.
        method: the family, for checks that know its right map.
        variants: names in place of ``method``, of which the first whose options hold counts.
        source: key of the paper in docs/references.bib.
        cost: model evaluations per image; names of options in braces stand for their values.
        claims: what it promises.
        sign: what the sign of its attributions means, as `Traits` say, where it claims
            ``sign_convention``.
        inputs: the kinds of inputs that it explains, of "table", "signal", "image", "volume".
        stochastic: its maps depend on the seed.
        class_agnostic: its maps do not depend on the target.
        needs_baseline: it is called with the subject's baseline.
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
        """What it is, in one line."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, object]:
        """Its options with their defaults."""
        parameters = inspect.signature(self.factory).parameters
        return {name: parameter.default for name, parameter in parameters.items()}

    def traits(self, options: Mapping[str, object], *, library: str) -> Traits:
        """What the gate should know of it with these options, the others at their defaults.

        Args:
            options: some of its options.
            library: what implements it.
        """
        values = {**self.options, **options}
        promised = frozenset(claim.check for claim in self.claims if claim.holds(values))
        return Traits(
            claims=promised,
            sign=self.sign if "sign_convention" in promised else None,
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
