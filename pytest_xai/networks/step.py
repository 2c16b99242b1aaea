"""One step of a generated network: its kind and its sizes."""

from dataclasses import dataclass, fields

__all__ = ["Step"]


@dataclass(frozen=True, slots=True, repr=False)
class Step:
    """One step of a network; sizes that its kind does not use keep their defaults.

    Attributes:
        kind: a key of `pytest_xai.networks.KINDS`, e.g. ``"conv"``.
        width: output features or channels; the output size of adaptive pooling.
        kernel: size of the window along every axis.
        stride: stride of the window.
        padding: padding on both sides.
        dilation: dilation of the window.
        groups: number of groups of a convolution or a group normalisation.
        inner: the steps inside a fork, for example those around which a residual connection goes.
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
        """Number of steps, including this one and the inner ones."""
        return 1 + sum(step.layers for step in self.inner)

    def __repr__(self) -> str:
        given = [
            f"{each.name}={value!r}"
            for each in fields(self)[1:]
            if (value := getattr(self, each.name)) != each.default
        ]
        return f"Step({', '.join([repr(self.kind), *given])})"
