"""Trace a network as a graph of steps, which can be cut between any two of them."""

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from pytest_xai.errors import NotApplicable

__all__ = ["TracedNetwork", "function_of", "trace"]

TRACED = "torch.fx"
SEQUENCE = "the top-level sequence of modules"


@dataclass(frozen=True, kw_only=True, slots=True)
class TracedNetwork:
    """A graph that computes the same outputs as the network.

    Attributes:
        root: a copy of the network, with the modules under the names that the graph uses.
        graph: a graph with one placeholder and one output, and with nodes in execution order.
        how: name of the method that traced the network.
        values: value of each node for one and for two images.
    """

    root: nn.Module
    graph: fx.Graph
    how: str
    values: dict[fx.Node, tuple[Any, Any]] = field(repr=False)


def trace(model: nn.Module, inputs: Tensor, *, rounding: float) -> TracedNetwork:
    """Trace the network with torch.fx, or only its top-level modules if that fails.

    It costs three to five forward passes.

    Args:
        model: the network in evaluation mode. The graph shares its modules.
        inputs: one image, (1, *shape).
        rounding: relative rounding error of the outputs. The outputs of the graph may differ by a
            hundred times as much.

    Raises:
        NotApplicable: no traced graph gives the outputs of the model.
    """
    two = torch.cat([inputs, inputs])
    with torch.no_grad():
        expected = model(inputs.clone())
    problems = []
    for how, way in (
        (TRACED, lambda: _traced(model, fx.Tracer())),
        (SEQUENCE, lambda: _traced(model, _TopLevel())),
        (SEQUENCE, lambda: _observed(model, inputs)),
    ):
        try:
            graph = way()  # type: ignore[no-untyped-call]  # one of them makes a tracer
            one, both = (_Values(model, graph) for _ in range(2))
            with torch.no_grad():
                outputs = one.run(inputs.clone())
                both.run(two)
        except Exception as error:  # noqa: BLE001  # user code, run by a tracer
            problems.append(f"{type(error).__name__}: {error}".partition("\n")[0])
            continue
        same = isinstance(outputs, Tensor) and outputs.shape == expected.shape
        if same and _near(outputs, expected, rounding):
            values = {node: (one.seen[node], both.seen[node]) for node in one.seen}
            return TracedNetwork(root=model, graph=graph, how=how, values=values)
        problems.append("the traced network has other outputs")
    raise NotApplicable(f"torch.fx cannot trace the network ({problems[0]})")


def _near(outputs: Tensor, expected: Tensor, rounding: float) -> bool:
    return float((outputs - expected).abs().max()) <= 100 * rounding * float(expected.abs().max())


class _TopLevel(fx.Tracer):
    """Traces each child of the network as one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module is one step: all are, except plain `nn.Sequential` containers."""
        return type(m) is not nn.Sequential


def _traced(model: nn.Module, tracer: fx.Tracer) -> fx.Graph:
    graph: fx.Graph = tracer.trace(model)
    first, *others = (node for node in graph.nodes if node.op == "placeholder")
    if any(node.users for node in others):
        raise ValueError("it has more than one input")
    for node in others:
        graph.erase_node(node)
    if first.args:  # with a default the graph could run without inputs
        first.args = ()
    return graph


def _observed(model: nn.Module, inputs: Tensor) -> fx.Graph:
    """Return a graph of the children in execution order, if they form a chain."""
    runs: list[tuple[str, Any, Any]] = []
    handles = [
        module.register_forward_hook(
            lambda _, given, output, name=name: runs.append((name, given, output))
        )
        for name, module in model.named_children()
    ]
    try:
        with torch.no_grad():
            model(inputs.clone())
    finally:
        for handle in handles:
            handle.remove()
    graph = fx.Graph()
    node = graph.placeholder("inputs")
    last: Any = None
    for name, given, output in runs:
        if len(given) != 1 or (last is not None and given[0] is not last):
            raise ValueError(f"`{name}` does not read the output of the module before it")
        node, last = graph.call_module(name, (node,)), output
    graph.output(node)
    return graph


class _Values(fx.Interpreter):
    """Runs a graph and keeps the value of each node, for tensors only their shape."""

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, graph=graph)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run a node and record its value."""
        value = super().run_node(n)
        self.seen[n] = (
            torch.empty(value.shape, dtype=value.dtype, device="meta")
            if isinstance(value, Tensor)
            else value
        )
        return value


def function_of(node: fx.Node) -> str:
    """Return the name of the function or method that a node calls, or "" for other nodes."""
    if node.op == "call_method":
        return str(node.target)
    if node.op == "call_function":
        target = node.target
        return "getitem" if target is operator.getitem else getattr(target, "__name__", str(target))
    return ""
