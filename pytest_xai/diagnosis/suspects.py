"""What explainers are known to stumble over in a step of a network, in a sentence."""

from collections.abc import Iterator

from torch import fx, nn

from pytest_xai.diagnosis.graphs import function_of
from pytest_xai.diagnosis.tails import Tails

__all__ = ["named", "suspicion"]

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


def named(tails: Tails, node: fx.Node) -> str:
    """A step as reports call it: the module's name and type, or the function and its place."""
    module = tails.module(node)
    if module is None:
        reads = [source for source in node.all_input_nodes if source in tails.steps]
        behind = " and ".join(_short(tails, source) for source in reads)
        return f"{function_of(node) or node.op}() behind {behind}"
    run, runs = tails.runs()[node]
    which = f", run {run} of {runs}" if runs > 1 else ""
    return f"{_short(tails, node)} ({type(module).__name__}{which})"


def suspicion(tails: Tails, nodes: list[fx.Node], *, varying: bool) -> str:
    """The likely causes at these steps, "" where none is known.

    Args:
        tails: of the network.
        nodes: the steps at fault.
        varying: the baseline's activation there is not one value.
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
            name = _short(tails, node)
            yield f"{name} runs {runs} times per forward; hook-based rules see the last one"
        yield from _of_module(module)
    if _is(tails, node, _RECTIFIERS, _RELU_NAMES):
        yield from _around_a_rectifier(tails, node)
    if _is(tails, node, _MAX_POOLS, _POOL_NAMES) and any(
        _is(tails, source, _RECTIFIERS, _RELU_NAMES) for source in node.all_input_nodes
    ):
        yield "a max-pool behind a ReLU" + (" with a varying baseline" if varying else "")


def _of_module(module: nn.Module) -> Iterator[str]:
    if isinstance(module, _MAX_POOLS):
        yield from _of_max_pool(module)
    if isinstance(module, _AVERAGE_POOLS) and _first(module.padding) > 0:
        yield "a padded average: zeros take a share"
    if isinstance(module, _SOFTMAXES):
        yield "softmax before the target"
    if isinstance(module, _BATCH_NORMS):
        yield "batch norm not merged: its shift is a bias, and its rule another than a layer's"
    if isinstance(module, _NORMS):
        yield "a normalisation without a rule: its statistics depend on the input"
    if isinstance(module, _SMOOTH):
        yield f"{type(module).__name__} is neither linear nor a ReLU; rules made for those fail"
    if isinstance(module, nn.MultiheadAttention):
        yield "attention: products and a softmax without a rule"


def _of_max_pool(pool: nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d) -> Iterator[str]:
    kernel, stride = pool.kernel_size, pool.stride
    if _first(kernel) > _first(stride):
        yield (
            f"max-pool windows overlap (size {_first(kernel)}, stride {_first(stride)}): one input "
            "may be the largest of several"
        )
    if _first(pool.padding) > 0:
        yield "padded max-pool"
    if _first(pool.dilation) > 1:
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
        yield "softmax before the target" if "softmax" in name else f"{name} has no rule"
    if name in _SUM_NAMES and len(moving) > 1:
        yield "residual sum: the branches have to share by what each adds"
    if name in _PRODUCT_NAMES and len(moving) > 1:
        yield "a product of two activations"


def _around_a_rectifier(tails: Tails, node: fx.Node) -> Iterator[str]:
    if tails.writes(node):
        yield "in-place ReLU: what a rule keeps of its input is overwritten"
    if any(len(source.users) > 1 for source in node.all_input_nodes):
        yield "the input of the ReLU also feeds another branch, where a hook's gradient goes too"
    if any(_is(tails, user, _MAX_POOLS, _POOL_NAMES) for user in node.users):
        yield "a max-pool behind a ReLU: one nonlinearity feeds another"
    beside = [*node.all_input_nodes, *node.users]
    if any(_is(tails, other, _RECTIFIERS, _RELU_NAMES) for other in beside):
        yield "a ReLU behind a ReLU: one nonlinearity feeds another"


def _is(
    tails: Tails, node: fx.Node, modules: tuple[type[nn.Module], ...], names: frozenset[str]
) -> bool:
    module = tails.module(node)
    return function_of(node) in names if module is None else isinstance(module, modules)


def _short(tails: Tails, node: fx.Node) -> str:
    if node.op == "placeholder":
        return "the input"
    if tails.module(node) is None:
        return f"{function_of(node) or node.op}()"
    return f"`{node.target}`"


def _first(value: int | tuple[int, ...]) -> int:
    """The largest along any axis of what may be one number for all."""
    return max(value) if isinstance(value, tuple) else int(value)
