"""The source code of a network under construction: modules, lines of ``forward``, shape."""

from dataclasses import dataclass, field, replace

from pytest_xai.errors import InvalidArgument
from pytest_xai.networks.step import Step

__all__ = ["Draft", "kind_of_input"]

_KINDS = {1: "table", 2: "signal", 3: "image", 4: "volume"}


def kind_of_input(shape: tuple[int, ...]) -> str:
    """Return the kind of inputs with this shape: table, signal, image or volume.

    The shape is that of one input, without the batch.

    Raises:
        InvalidArgument: the shape is not (F,), (C, L), (C, H, W) or (C, D, H, W) with positive
            sizes.
    """
    if len(shape) not in _KINDS or not all(isinstance(size, int) and size > 0 for size in shape):
        raise InvalidArgument.of(
            "input_shape", got=repr(shape), expected="(F,), (C, L), (C, H, W) or (C, D, H, W)"
        )
    return _KINDS[len(shape)]


@dataclass(slots=True)
class Draft:
    """The source code that the steps so far have written.

    Attributes:
        shape: shape of ``x`` without the batch.
        modules: source code of each attribute of the network by name, in order.
        lines: lines of ``forward``.
        structures: names of the structures so far.
        chain: every line applies one new module to ``x``, so that the network is a Sequential.
        fan_in: largest number of terms in one sum of a layer.
        last: kind of the previous step; "" at the start and after a fork.
        strided: ``x`` may not be contiguous, so that ``view`` would raise.
    """

    shape: tuple[int, ...]
    modules: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    structures: set[str] = field(default_factory=set)
    chain: bool = True
    fan_in: int = 1
    last: str = ""
    strided: bool = False

    @property
    def rank(self) -> int:
        """Number of axes after the channels: 0 for a table, 2 for images."""
        return len(self.shape) - 1

    def copy(self) -> "Draft":
        """Return an independent copy."""
        return replace(
            self,
            modules=dict(self.modules),
            lines=list(self.lines),
            structures=set(self.structures),
        )

    def add_module(self, stem: str, source: str) -> str:
        """Add a new attribute, such as ``conv1``, and return its name."""
        number = 1 + sum(name.rstrip("0123456789") == stem for name in self.modules)
        self.modules[f"{stem}{number}"] = source
        return f"{stem}{number}"

    def apply(self, stem: str, source: str) -> None:
        """Apply a new module to ``x``."""
        self.lines.append(f"x = self.{self.add_module(stem, source)}(x)")

    def reuse(self, stem: str, source: str) -> bool:
        """Apply the existing module with this source to ``x``, or a new one if there is none.

        Returns:
            True if the module existed.
        """
        known = [name for name, code in self.modules.items() if code == source]
        used = [name for name in known if name.rstrip("0123456789") == stem]
        self.chain = self.chain and not used
        self.lines.append(f"x = self.{used[0] if used else self.add_module(stem, source)}(x)")
        return bool(used)

    def write(self, *lines: str) -> None:
        """Add lines other than the call of a new module."""
        self.chain = False
        self.lines += lines

    def require(self, condition: object, step: Step, expected: str) -> None:
        """Refuse a step that does not meet a condition.

        Raises:
            InvalidArgument: ``condition`` is false.
        """
        if not condition:
            raise InvalidArgument.of(
                "steps", got=f"{step} on shape {self.shape}", expected=expected
            )
