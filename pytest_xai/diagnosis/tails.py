"""Build the rest of a network after each of its steps as a network of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from pytest_xai.diagnosis.graphs import TracedNetwork, function_of

__all__ = ["Cut", "Tails"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A position between two steps at which a network can be cut.

    Attributes:
        place: number of steps that ran before the cut. 0 is the input.
        live: nodes whose tensors the steps after the cut read, (N, ...) each.
        plain: the steps after the cut read a single tensor and do not write into it. At other cuts
            all tensors are flattened and concatenated, (N, total).
    """

    place: int
    live: tuple[fx.Node, ...]
    plain: bool


class Tails:
    """The tails of a network, which are the rest of the network after each cut.

    The tails share the modules of the network, which should therefore be a copy.

    Args:
        traced: the network as a graph.
    """

    def __init__(self, traced: TracedNetwork) -> None:
        self.traced = traced
        nodes = list(traced.graph.nodes)
        start = next(node for node in nodes if node.op == "placeholder")
        moving = {start}
        for node in nodes:
            if any(source in moving for source in node.all_input_nodes):
                moving.add(node)
        self.steps = [node for node in nodes if node in moving and node.op != "output"]
        self.output = next(node for node in nodes if node.op == "output")
        # Not `get_submodule`, since a wrapper may resolve its model's names instead of its own.
        self._modules = dict(traced.root.named_modules(remove_duplicate=False))
        self._places = {node: place for place, node in enumerate(self.steps)}

    @cached_property
    def cuts(self) -> list[Cut]:
        """All cuts of the network, from the input to the output."""
        found: list[Cut] = []
        for place in range(len(self.steps)):
            cut = self._cut(place)
            if cut is not None and not (found and found[-1].live == cut.live):
                found.append(cut)
        return found

    def between(self, start: Cut, stop: Cut) -> list[fx.Node]:
        """Return the steps that run between two cuts."""
        return self.steps[start.place + 1 : stop.place + 1]

    def head(self, cut: Cut) -> nn.Module:
        """Return the network up to a cut: inputs (N, *shape) to the input of the tail."""
        graph, known = fx.Graph(), dict[fx.Node, Any]()
        for node in self.traced.graph.nodes:
            if node.op == "output" or self._is_after(node, cut):
                continue
            known[node] = graph.node_copy(node, known.__getitem__)
        given = [known[node] for node in cut.live]
        if not cut.plain:
            flat = [graph.call_method("flatten", (node, 1)) for node in given]
            given = [graph.call_function(torch.cat, (flat, 1))]
        graph.output(given[0])
        return self._module(graph)

    def tail(self, cut: Cut) -> nn.Module:
        """Return the network after a cut: the output of the head to the outputs, (N, classes)."""
        graph = fx.Graph()
        inputs = graph.placeholder("inputs")
        known = self._handed_over(graph, inputs, cut)
        for node in self.traced.graph.nodes:
            if node.op == "output":
                graph.output(known[node.args[0]])
            elif node not in known and (node not in self._places or self._is_after(node, cut)):
                known[node] = graph.node_copy(node, known.__getitem__)
        return self._module(graph)

    def _handed_over(self, graph: fx.Graph, inputs: fx.Node, cut: Cut) -> dict[fx.Node, Any]:
        """Return the replacement in the tail of each value from before the cut."""
        known: dict[fx.Node, Any] = {}
        for node in self.steps[: cut.place + 1]:
            one, two = self.traced.values[node]
            used = any(self._is_after(user, cut) for user in node.users)
            if used and _is_number(one) and _is_number(two):
                same = one == two
                known[node] = one if same else graph.call_method("size", (inputs, 0))
        if cut.plain:
            return {**known, cut.live[0]: inputs}
        start = 0
        for node in cut.live:
            shape = self.traced.values[node][0].shape
            size = shape.numel()
            part = graph.call_function(torch.narrow, (inputs, 1, start, size))
            whole = graph.call_method("reshape", (part, -1, *shape[1:]))
            # Later steps may write into it, which is forbidden for a view of a leaf.
            known[node] = graph.call_method("clone", (whole,))
            start += size
        return known

    def _cut(self, place: int) -> Cut | None:
        """Return the cut after the step at this place, or None if no cut is possible there."""
        live = [
            node
            for node in self.steps[: place + 1]
            if any(self._places.get(user, len(self.steps)) > place for user in node.users)
        ]
        tensors = tuple(node for node in live if self._is_batch(node))
        if not tensors or any(self._blocks(node) for node in live if node not in tensors):
            return None
        plain = len(tensors) == 1 and not any(map(self.writes, tensors[0].users))
        return Cut(place=place, live=tensors, plain=plain)

    def _is_after(self, node: fx.Node, cut: Cut) -> bool:
        return self._places.get(node, -1) > cut.place

    def is_tensor(self, node: fx.Node) -> bool:
        """Return whether the value of a step is a tensor, and not a number or a tuple."""
        return isinstance(self.traced.values[node][0], Tensor)

    def _is_batch(self, node: fx.Node) -> bool:
        one, two = self.traced.values[node]
        return all(
            isinstance(value, Tensor)
            and value.is_floating_point()
            and value.ndim >= 2
            and len(value) == count
            for value, count in ((one, 1), (two, 2))
        )

    def _blocks(self, node: fx.Node) -> bool:
        """Return whether a value, other than a batch, cannot be reproduced after a cut."""
        one, two = self.traced.values[node]
        return not (_is_number(one) and _is_number(two) and (one == two or (one, two) == (1, 2)))

    def module(self, node: fx.Node) -> nn.Module | None:
        """Return the module that a step runs, or None for a function."""
        return self._modules[str(node.target)] if node.op == "call_module" else None

    def runs(self) -> Mapping[fx.Node, tuple[int, int]]:
        """Return for each step that runs a module the number of this run and of all its runs."""
        calls: dict[nn.Module, list[fx.Node]] = {}
        for node in self.steps:
            module = self.module(node)
            if module is not None:
                calls.setdefault(module, []).append(node)
        return {
            node: (number + 1, len(nodes))
            for nodes in calls.values()
            for number, node in enumerate(nodes)
        }

    def writes(self, node: fx.Node) -> bool:
        """Return whether a step may write into its inputs."""
        if node.op == "call_module":
            return bool(getattr(self.module(node), "inplace", False))
        name = function_of(node)
        return name.endswith("_") or name in _IN_PLACE or node.kwargs.get("inplace") is True

    def _module(self, graph: fx.Graph) -> nn.Module:
        return fx.GraphModule(self.traced.root, graph).eval()


# Functions of `operator` that stand for +=, -= and the like.
_IN_PLACE = frozenset({"iadd", "isub", "imul", "itruediv", "ipow", "ior", "iand"})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | torch.dtype | torch.device)
