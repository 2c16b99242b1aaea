"""A network as a graph of steps, so that it can be cut between any two of them."""

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from pytest_xai.errors import NotApplicable

__all__ = ["Drawn", "draw", "function_of"]

TRACED = "torch.fx"
SEQUENCE = "the top-level sequence of modules"


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A graph that computes what the network computes.

    Attributes:
        root: holds the modules under the names that the graph uses; a copy of the network.
        graph: one placeholder, one output; nodes in the order of execution.
        how: what it was drawn with.
        values: what each node gave for one and for two images.
    """

    root: nn.Module
    graph: fx.Graph
    how: str
    values: dict[fx.Node, tuple[Any, Any]] = field(repr=False)


def draw(model: nn.Module, inputs: Tensor, *, rounding: float) -> Drawn:
    """Follow the network with torch.fx, or where it cannot, its top-level modules.

    Args:
        model: in evaluation mode; the graph shares its modules.
        inputs: (1, *shape). Three forward passes or a few more.
        rounding: by how much, relative to the largest output, the graph's outputs may differ.

    Raises:
        NotApplicable: none of the ways leads to the model's outputs.
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
        except Exception as error:  # noqa: BLE001  # a guest's forward, run by a tracer
            problems.append(f"{type(error).__name__}: {error}".partition("\n")[0])
            continue
        same = isinstance(outputs, Tensor) and outputs.shape == expected.shape
        if same and _near(outputs, expected, rounding):
            values = {node: (one.seen[node], both.seen[node]) for node in one.seen}
            return Drawn(root=model, graph=graph, how=how, values=values)
        problems.append("the traced network does not compute the same")
    raise NotApplicable(f"torch.fx cannot follow the network ({problems[0]})")


def _near(outputs: Tensor, expected: Tensor, rounding: float) -> bool:
    return float((outputs - expected).abs().max()) <= 100 * rounding * float(expected.abs().max())


class _TopLevel(fx.Tracer):
    """Takes each child of the network for one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Do not look into any module, but into containers that only run their children."""
        return type(m) is not nn.Sequential


def _traced(model: nn.Module, tracer: fx.Tracer) -> fx.Graph:
    graph: fx.Graph = tracer.trace(model)
    first, *others = (node for node in graph.nodes if node.op == "placeholder")
    if any(node.users for node in others):
        raise ValueError("it has more than one input")
    for node in others:
        graph.erase_node(node)
    if first.args:  # a default would let it run on nothing
        first.args = ()
    return graph


def _observed(model: nn.Module, inputs: Tensor) -> fx.Graph:
    """The children in the order in which they ran, where each reads what the last one gave."""
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
            raise ValueError(f"`{name}` reads something else than what ran before it gave")
        node, last = graph.call_module(name, (node,)), output
    graph.output(node)
    return graph


class _Values(fx.Interpreter):
    """Runs a graph and keeps what each of its nodes gave; tensors by their shape alone."""

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        super().__init__(root, graph=graph)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run a node and note its value."""
        value = super().run_node(n)
        self.seen[n] = (
            torch.empty(value.shape, dtype=value.dtype, device="meta")
            if isinstance(value, Tensor)
            else value
        )
        return value


def function_of(node: fx.Node) -> str:
    """Name of the function or method that a node calls; "" for other nodes."""
    if node.op == "call_method":
        return str(node.target)
    if node.op == "call_function":
        target = node.target
        return "getitem" if target is operator.getitem else getattr(target, "__name__", str(target))
    return ""
