"""One step of a generated network: what it is, and its sizes."""

from dataclasses import dataclass, fields

__all__ = ["Step"]


@dataclass(frozen=True, slots=True, repr=False)
class Step:
    """One step; sizes that its kind does not use stay as they are here.

    Attributes:
        kind: a key of `pytest_xai.networks.KINDS`, e.g. ``"conv"``.
        width: output features or channels; of adaptive pooling, the output size.
        kernel: size of the window, along every axis.
        stride: of the window.
        padding: of the window, on both sides.
        dilation: of the window.
        groups: of a convolution or of group normalisation.
        inner: the steps inside a fork, e.g. those that a residual connection goes around.
    """

    kind: str
    width: int = 1
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    inner: tuple["Step", ...] = ()

    @property
    def layers(self) -> int:
        """Number of steps that this one is made of, itself included."""
        return 1 + sum(step.layers for step in self.inner)

    def __repr__(self) -> str:
        given = [
            f"{each.name}={value!r}"
            for each in fields(self)[1:]
            if (value := getattr(self, each.name)) != each.default
        ]
        return f"Step({', '.join([repr(self.kind), *given])})"
