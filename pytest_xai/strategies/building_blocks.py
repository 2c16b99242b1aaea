"""Building blocks for random networks, by structure, simplest first."""

from collections.abc import Iterable
from itertools import product

from hypothesis import strategies as st

from pytest_xai.errors import UnknownName
from pytest_xai.networks import STRUCTURES, Step

__all__ = ["Block", "allowed_structures", "building_blocks"]

Block = tuple[Step, ...]

_PLAIN = frozenset({"linear", "conv", "relu", "flatten"})
# The number of axes of a pooling depends on the inputs, which are drawn separately.
_BY_INPUT = frozenset({"max-pool-1d", "max-pool-2d", "max-pool-3d"})
_FORKS = ("residual", "product", "concat", "branches")
_SIMPLE = (
    "functional-relu",
    "gelu",
    "silu",
    "sigmoid",
    "tanh",
    "softmax",
    "log-softmax",
    "exp",
    "batch-norm",
    "layer-norm",
    "instance-norm",
    "dropout",
    "buffer",
    "unused-module",
    "view",
    "permute",
    "attention",
    "flatten",
)

_TURNS = 12  # a multiple of the number of variants of each structure
_FORKED = (False,) * 5 + (True,)

_RELU = Step("relu")
_SAME = Step("conv", width=0)
# Kernel, stride and padding.
_WINDOWS = ((1, 1, 0), (2, 1, 0), (3, 1, 1), (3, 2, 1))
_LAYERS: list[Block] = [
    (Step("conv", width=w, kernel=k, stride=s, padding=p),)
    for (k, s, p), w in product(_WINDOWS, (2, 3, 1))
]


def _pools(*windows: tuple[int, int, int, int]) -> list[Block]:
    """Return one max-pooling for each (kernel, stride, padding, dilation)."""
    return [
        (Step("max-pool", kernel=k, stride=s, padding=p, dilation=d),) for k, s, p, d in windows
    ]


_BLOCKS: dict[str, list[Block]] = {
    **{name: [(Step(name),)] for name in _SIMPLE},
    "relu-used-twice": [(Step("shared-relu"), _SAME, Step("shared-relu"))],
    "inplace-relu": [(_SAME, Step("inplace-relu"))],
    "shared-weights": [(Step("shared-conv"), _RELU, Step("shared-conv"))],
    "grouped-conv": [(Step("conv", width=4), Step("conv", width=4, kernel=2, groups=2))],
    "depthwise-conv": [(Step("conv", width=0, kernel=kernel, groups=3),) for kernel in (1, 2)],
    "dilated-conv": [(Step("conv", width=2, kernel=2, dilation=2),)],
    "transposed-conv": [
        (Step("transposed-conv", width=w, kernel=k, stride=s, padding=p),)
        for (k, s, p), w in product(((2, 2, 0), (2, 1, 0), (3, 2, 1)), (1, 2))
    ],
    "group-norm": [(Step("group-norm", groups=groups),) for groups in (1, 2)],
    "max-pool": _pools((2, 2, 0, 1), (3, 3, 0, 1)),
    "max-pool-overlapping": _pools((2, 1, 0, 1), (3, 2, 0, 1), (3, 1, 0, 1)),
    "max-pool-padded": _pools((2, 2, 1, 1), (3, 3, 1, 1), (3, 2, 1, 1)),
    "max-pool-dilated": _pools((2, 2, 0, 2), (2, 1, 0, 2)),
    "max-pool-ties": [(_RELU, *pool) for pool in _pools((2, 2, 0, 1), (3, 3, 0, 1))],
    "avg-pool": [
        (Step("avg-pool", kernel=k, stride=s, padding=p),)
        for k, s, p in ((2, 2, 0), (2, 1, 0), (3, 1, 1))
    ],
    "adaptive-avg-pool": [(Step("adaptive-avg-pool", width=width),) for width in (1, 2)],
    "adaptive-max-pool": [(Step("adaptive-max-pool", width=width),) for width in (1, 2)],
    "skip-around-pool": [
        (Step("residual", inner=(Step(kind, kernel=3, padding=1),)),)
        for kind in ("max-pool", "avg-pool")
    ],
}


def allowed_structures(structures: Iterable[str] | None) -> frozenset[str]:
    """Return the requested structures together with all structures that they consist of.

    Raises:
        UnknownName: a name is not in `STRUCTURES`.
    """
    if structures is None:
        return frozenset(STRUCTURES)
    allowed = set(_PLAIN | _BY_INPUT)
    for name in structures:
        if name not in STRUCTURES:
            raise UnknownName.among("structure", name, STRUCTURES)
        allowed |= STRUCTURES[name].structures
    return frozenset(allowed)


def building_blocks(allowed: frozenset[str]) -> st.SearchStrategy[Block]:
    """Draw a sequence of steps with one of the structures; the steps need not fit."""
    blocks = [found for name, found in _BLOCKS.items() if name in allowed - {"flatten"}]
    # Layers and ReLUs are frequent, because networks of rare structures alone show few errors.
    relus: list[Block] = [(_RELU,)]
    if "relu-used-twice" in allowed:
        relus.append((Step("shared-relu"),))
    options: list[list[Block]] = [_LAYERS, relus, *blocks, *[_LAYERS, relus] * (len(blocks) // 6)]
    # Every block takes two draws, so that one structure can shrink to another.
    simple = st.builds(
        lambda found, turn: found[turn % len(found)],
        st.sampled_from(options),
        st.integers(0, _TURNS - 1),
    )
    forks = [fork for fork in _FORKS if fork in allowed]
    if not forks:
        return simple
    forked = st.builds(_fork, st.sampled_from(forks), st.lists(simple, min_size=1, max_size=2))
    return st.sampled_from(_FORKED).flatmap(lambda fork: forked if fork else simple)


def _fork(kind: str, inside: list[Block]) -> Block:
    return (Step(kind, inner=tuple(step for block in inside for step in block if not step.inner)),)
