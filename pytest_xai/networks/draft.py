"""A network's source while it is written: modules, lines of ``forward``, the shape so far."""

from dataclasses import dataclass, field, replace

from pytest_xai.errors import InvalidArgument
from pytest_xai.networks.step import Step

__all__ = ["Draft", "kind_of_input"]

_KINDS = {1: "table", 2: "signal", 3: "image", 4: "volume"}


def kind_of_input(shape: tuple[int, ...]) -> str:
    """What inputs of a shape without the batch are: table, signal, image or volume.

    Raises:
        InvalidArgument: it is not (F,), (C, L), (C, H, W) or (C, D, H, W) of sizes from 1 on.
    """
    if len(shape) not in _KINDS or not all(isinstance(size, int) and size > 0 for size in shape):
        raise InvalidArgument.of(
            "input_shape", got=repr(shape), expected="(F,), (C, L), (C, H, W) or (C, D, H, W)"
        )
    return _KINDS[len(shape)]


@dataclass(slots=True)
class Draft:
    """What the steps so far have written.

    Attributes:
        shape: shape of ``x`` without the batch.
        modules: attribute of the network to the source of what it holds, in order.
        lines: of ``forward``.
        structures: names of the structures that were met.
        chain: every line applies one new module to ``x``, so that a Sequential says it all.
        fan_in: largest number of terms in one sum of a layer.
        last: kind of the step before; "" at the start and behind a fork.
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
        """Number of axes behind the channels: 0 for a table, 2 for images."""
        return len(self.shape) - 1

    def copy(self) -> "Draft":
        """A draft that can be written on without touching this one."""
        return replace(
            self,
            modules=dict(self.modules),
            lines=list(self.lines),
            structures=set(self.structures),
        )

    def add_module(self, stem: str, source: str) -> str:
        """Give the network a new attribute, such as ``conv1``, and return its name."""
        number = 1 + sum(name.rstrip("0123456789") == stem for name in self.modules)
        self.modules[f"{stem}{number}"] = source
        return f"{stem}{number}"

    def apply(self, stem: str, source: str) -> None:
        """Send ``x`` through a new module."""
        self.lines.append(f"x = self.{self.add_module(stem, source)}(x)")

    def reuse(self, stem: str, source: str) -> bool:
        """Send ``x`` through the module of this source that is there; a new one if none is.

        Returns:
            Whether it was there.
        """
        known = [name for name, held in self.modules.items() if held == source]
        used = [name for name in known if name.rstrip("0123456789") == stem]
        self.chain = self.chain and not used
        self.lines.append(f"x = self.{used[0] if used else self.add_module(stem, source)}(x)")
        return bool(used)

    def write(self, *lines: str) -> None:
        """Add lines that are no plain call of a module."""
        self.chain = False
        self.lines += lines

    def require(self, holds: object, step: Step, expected: str) -> None:
        """Refuse a step that does not fit.

        Raises:
            InvalidArgument: ``holds`` is false.
        """
        if not holds:
            raise InvalidArgument.of(
                "steps", got=f"{step} on shape {self.shape}", expected=expected
            )
