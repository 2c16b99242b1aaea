"""The batch size of explainers that evaluate the model many times, and copies of its inputs."""

from torch import Tensor

__all__ = ["fresh", "images_per_pass"]

# 2 ** 21 input values are 13 images of 3 x 224 x 224. A backward pass of a ResNet-50 on these takes
# less than 2 GB. A batch has at most 1,024 images, since larger batches are not faster.
_VALUES = 2**21
_IMAGES = 1024


def images_per_pass(inputs: Tensor) -> int:
    """Return the number of inputs of this shape in one pass through the model.

    It depends on the shape alone, so that figures do not depend on the memory of the machine.

    Args:
        inputs: (N, *shape).
    """
    return max(1, min(_IMAGES, _VALUES // inputs[0].numel()))


def fresh(inputs: Tensor) -> Tensor:
    """Return a copy of the inputs that requires gradients, so that a library cannot change them.

    Args:
        inputs: (N, *shape).
    """
    return inputs.detach().clone().requires_grad_()
