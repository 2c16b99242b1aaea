"""A strategy for plans of small networks, which shrinks to few layers and simple weights."""

from collections.abc import Collection

from hypothesis import strategies as st

from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.networks import WEIGHTS, Draft, Plan, grow
from pytest_xai.strategies.building_blocks import Block, allowed_structures, building_blocks

__all__ = ["plans"]

_KINDS = ("table", "signal", "image", "volume")
_RARELY = (False,) * 7 + (True,)

Growth = tuple[int, int, int]
Rare = tuple[bool, bool]

_GROWTH: st.SearchStrategy[Growth] = st.tuples(*[st.integers(0, 1)] * 3)


def plans(
    *,
    kinds: Collection[str] = ("table", "signal", "image"),
    structures: Collection[str] | None = None,
    max_layers: int = 6,
    weights: Collection[str] = ("ones", "quarters", "fine"),
) -> st.SearchStrategy[Plan]:
    """Draw plans of small networks, which are well-formed by construction.

    Args:
        kinds: kinds of inputs ("table", "signal", "image", "volume"), simplest first.
        structures: names from `STRUCTURES` that a network may have in addition to linear layers,
            convolutions, ReLU and flatten; None: all names.
        max_layers: maximum number of steps, including those inside forks and the flatten before
            the outputs; at least 2.
        weights: kinds of weights, simplest first; see `Plan`.

    Raises:
        UnknownName: a kind, a structure or a kind of weights is unknown.
        InvalidArgument: an argument is empty, or ``max_layers`` is below 2.
    """
    _require(kinds, "kinds", _KINDS)
    _require(weights, "weights", WEIGHTS)
    if max_layers < 2:
        raise InvalidArgument.of("max_layers", got=str(max_layers), expected="2 or more")
    allowed = allowed_structures(structures)

    def plan(
        shape: tuple[int, ...], blocks: list[Block], head: int, filling: tuple[str, int], rare: Rare
    ) -> Plan:
        double, last = rare[0] and "float64" in allowed, rare[1] and len(shape) == 3
        last = last and "channels-last" in allowed
        draft = Draft(shape, strided=last)
        steps = grow(draft, blocks, allowed=allowed, max_layers=max_layers, head=head)
        dtype = "float64" if double else "float32"
        return Plan(shape, steps, *filling, dtype=dtype, channels_last=last)

    return st.builds(
        plan,
        # Every kind of input takes the same draws, so that an image can shrink to a table.
        st.builds(_shape, st.sampled_from(tuple(kinds)), st.integers(0, 2), _GROWTH),
        st.lists(building_blocks(allowed), max_size=max_layers + 2),
        st.sampled_from((0, 2, 3)),
        # Networks with equal weights show few errors: this kind is the simplest, but rare.
        st.tuples(st.sampled_from((*weights, *tuple(weights)[1:] * 3)), st.integers(0, 255)),
        st.tuples(st.sampled_from(_RARELY), st.sampled_from(_RARELY)),
    )


def _shape(kind: str, channels: int, more: Growth) -> tuple[int, ...]:
    """Return the smallest shape of a kind, enlarged in channels and along the other axes."""
    if kind == "table":
        return (2 + channels,)
    if kind == "signal":
        return (1 + min(channels, 1), 4 + sum(more))
    if kind == "image":
        return (1 + channels, 4 + more[0], 4 + more[1])
    return (1 + min(channels, 1), *(2 + each for each in more))


def _require(given: Collection[str], name: str, known: Collection[str]) -> None:
    if not given:
        raise InvalidArgument.of(name, got="none", expected="one or more")
    for each in given:
        if each not in known:
            raise UnknownName.among(name.removesuffix("s"), each, known)
