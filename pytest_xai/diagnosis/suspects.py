"""Known causes of wrong attributions for the steps of a network, in words."""

from collections.abc import Iterator

from torch import fx, nn

from pytest_xai.diagnosis.graphs import function_of
from pytest_xai.diagnosis.tails import Tails

__all__ = ["likely_causes", "short_name", "step_name"]

_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU)
_SMOOTH = (nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Mish, nn.Softplus, nn.Hardswish)
_SOFTMAXES = (nn.Softmax, nn.LogSoftmax, nn.Softmin)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_NORMS = (
    *(nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
_RELU_NAMES = frozenset({"relu", "relu_", "leaky_relu", "leaky_relu_", "elu", "elu_", "relu6"})
_SMOOTH_NAMES = frozenset({"gelu", "silu", "sigmoid", "tanh", "sigmoid_", "tanh_", "mish"})
_SOFTMAX_NAMES = frozenset({"softmax", "log_softmax", "exp", "logsumexp"})
_POOL_NAMES = frozenset({"max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d"})
_SUM_NAMES = frozenset({"add", "iadd", "add_", "sub", "isub"})
_PRODUCT_NAMES = frozenset({"mul", "imul", "mul_", "matmul", "bmm", "truediv", "div", "einsum"})


def step_name(tails: Tails, node: fx.Node) -> str:
    """Return a step's name in reports: name and type of a module, or function and inputs."""
    module = tails.module(node)
    if module is None:
        reads = [source for source in node.all_input_nodes if source in tails.steps]
        sources = " and ".join(short_name(tails, source) for source in reads)
        return f"{function_of(node) or node.op}() after {sources}"
    run, runs = tails.runs()[node]
    which = f", run {run} of {runs}" if runs > 1 else ""
    return f"{short_name(tails, node)} ({type(module).__name__}{which})"


def likely_causes(tails: Tails, nodes: list[fx.Node], *, varying: bool) -> str:
    """Return the likely causes at these steps, or "" if none is known.

    Args:
        tails: the tails of the network.
        nodes: the wrong steps.
        varying: the activation of the baseline at these steps is not constant.
    """
    found = [cause for node in nodes for cause in _causes(tails, node, varying=varying)]
    return "; ".join(dict.fromkeys(found))


def _causes(tails: Tails, node: fx.Node, *, varying: bool) -> Iterator[str]:
    module = tails.module(node)
    if module is None:
        yield from _of_function(tails, node)
    else:
        _, runs = tails.runs()[node]
        if runs > 1:
            name = short_name(tails, node)
            yield f"{name} runs {runs} times per forward pass; hook-based rules see only the last"
        yield from _of_module(module)
    if _is(tails, node, _RECTIFIERS, _RELU_NAMES):
        yield from _around_a_relu(tails, node)
    if _is(tails, node, _MAX_POOLS, _POOL_NAMES) and any(
        _is(tails, source, _RECTIFIERS, _RELU_NAMES) for source in node.all_input_nodes
    ):
        yield "a max-pool after a ReLU" + (" with a varying baseline" if varying else "")


def _of_module(module: nn.Module) -> Iterator[str]:
    if isinstance(module, _MAX_POOLS):
        yield from _of_max_pool(module)
    if isinstance(module, _AVERAGE_POOLS) and _largest(module.padding) > 0:
        yield "padded average pooling: the padding takes a share"
    if isinstance(module, _SOFTMAXES):
        yield "softmax before the explained output"
    if isinstance(module, _BATCH_NORMS):
        yield "batch norm not merged into the layer before: its shift acts as a bias"
    if isinstance(module, _NORMS):
        yield "a normalisation without a rule: its statistics depend on the input"
    if isinstance(module, _SMOOTH):
        name = type(module).__name__
        yield f"{name} is neither linear nor a ReLU, and rules for those do not apply"
    if isinstance(module, nn.MultiheadAttention):
        yield "attention: products and a softmax without a rule"


def _of_max_pool(pool: nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d) -> Iterator[str]:
    kernel, stride = pool.kernel_size, pool.stride
    if _largest(kernel) > _largest(stride):
        yield (
            f"max-pool windows overlap (size {_largest(kernel)}, stride {_largest(stride)}): one "
            "input may be the maximum of several windows"
        )
    if _largest(pool.padding) > 0:
        yield "padded max-pool"
    if _largest(pool.dilation) > 1:
        yield "dilated max-pool"


def _of_function(tails: Tails, node: fx.Node) -> Iterator[str]:
    name = function_of(node)
    moving = [source for source in node.all_input_nodes if source in tails.steps]
    if name in _RELU_NAMES:
        yield "functional ReLU (no module to hook)"
    if name in _POOL_NAMES:
        yield "functional max-pool (no module to hook)"
    if name in _SMOOTH_NAMES:
        yield f"functional {name} (no module to hook)"
    if name in _SOFTMAX_NAMES:
        yield "softmax before the explained output" if "softmax" in name else f"{name} has no rule"
    if name in _SUM_NAMES and len(moving) > 1:
        yield "residual sum: each branch must get relevance in proportion to its contribution"
    if name in _PRODUCT_NAMES and len(moving) > 1:
        yield "a product of two activations"


def _around_a_relu(tails: Tails, node: fx.Node) -> Iterator[str]:
    if tails.writes(node):
        yield "in-place ReLU: it overwrites the input that a rule stores"
    if any(len(source.users) > 1 for source in node.all_input_nodes):
        yield "the input of the ReLU also feeds another branch, which a gradient hook also affects"
    if any(_is(tails, user, _MAX_POOLS, _POOL_NAMES) for user in node.users):
        yield "a max-pool after a ReLU: one nonlinearity feeds another"
    neighbours = [*node.all_input_nodes, *node.users]
    if any(_is(tails, other, _RECTIFIERS, _RELU_NAMES) for other in neighbours):
        yield "a ReLU after a ReLU: one nonlinearity feeds another"


def _is(
    tails: Tails, node: fx.Node, modules: tuple[type[nn.Module], ...], names: frozenset[str]
) -> bool:
    module = tails.module(node)
    return function_of(node) in names if module is None else isinstance(module, modules)


def short_name(tails: Tails, node: fx.Node) -> str:
    """Return the name of a step without the type of its module and the inputs of its function."""
    if node.op == "placeholder":
        return "the input"
    if tails.module(node) is None:
        return f"{function_of(node) or node.op}()"
    return f"`{node.target}`"


def _largest(value: int | tuple[int, ...]) -> int:
    """Return the largest of the numbers per axis, or the one number for all axes."""
    return max(value) if isinstance(value, tuple) else int(value)
