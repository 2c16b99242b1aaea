"""The network of the bundled subject `shapes`: a small ResNet."""

from torch import Tensor, nn

__all__ = ["ResidualBlock", "ResidualSum", "ShapesNet"]

_WIDTHS = (16, 32, 48)


class ResidualSum(nn.Module):
    """The sum of two branches, as a module, so that methods with rules for modules find it."""

    def forward(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        """Add two tensors of the same shape."""
        return branch + shortcut


class ResidualBlock(nn.Module):
    """Two convolutions with batch normalisation, and a 1x1 convolution around them (He 2016)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
        self.shortcut_bn = nn.BatchNorm2d(channels_out)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.sum = ResidualSum()
        self.relu2 = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute (N, channels_out, H / stride, W / stride) from (N, channels_in, H, W)."""
        shortcut = self.shortcut_bn(self.shortcut(inputs))
        branch = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(inputs)))))
        outputs: Tensor = self.relu2(self.sum(branch, shortcut))
        return outputs


class ShapesNet(nn.Module):
    """A ResNet of 8 layers: (N, 3, 64, 64) in [0, 1] to (N, 8) logits.

    The layers are a convolution to 32x32, two residual blocks, a convolution at 16x16, global
    average pooling and a linear layer. The output of the last convolution, after normalisation and
    ReLU, is the map that class activation mapping weights (Zhou 2016). It is the only input of the
    pooling and the linear layer, and each of its positions sees 39x39 pixels.

    Every step, including the residual sums, is a separate module that is used once, so that methods
    with hooks find all of them.
    """

    def __init__(self, classes: int = 8) -> None:
        super().__init__()
        first, second, third = _WIDTHS
        self.conv1 = nn.Conv2d(3, first, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu1 = nn.ReLU()
        self.block1 = ResidualBlock(first, second, 2)
        self.block2 = ResidualBlock(second, third, 1)
        self.conv2 = nn.Conv2d(third, third, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(third)
        self.relu2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(third, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the logits (N, classes) of images (N, 3, 64, 64) in [0, 1]."""
        hidden = self.relu1(self.bn1(self.conv1(inputs)))
        hidden = self.block2(self.block1(hidden))
        hidden = self.relu2(self.bn2(self.conv2(hidden)))
        logits: Tensor = self.fc(self.flatten(self.pool(hidden)))
        return logits
