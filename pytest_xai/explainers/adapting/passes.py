"""What goes through the model at once inside an explainer that evaluates it many times."""

from torch import Tensor

__all__ = ["fresh", "images_per_pass"]

# 2 ** 21 input values are 13 images of 3 x 224 x 224: a backward pass of a ResNet-50 on them stays
# under 2 GB. Small images are held to 1,024, beyond which a larger batch gains no speed.
_VALUES = 2**21
_IMAGES = 1024


def images_per_pass(inputs: Tensor) -> int:
    """How many inputs of this shape go through the model at once.

    It depends on the shape alone, so that figures repeat on machines with more or less memory.

    Args:
        inputs: (N, *shape).
    """
    return max(1, min(_IMAGES, _VALUES // inputs[0].numel()))


def fresh(inputs: Tensor) -> Tensor:
    """A copy of the inputs to take gradients of: what a library does to it, the caller never sees.

    Args:
        inputs: (N, *shape).
    """
    return inputs.detach().clone().requires_grad_()
