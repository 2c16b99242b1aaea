"""The part of a network behind each of its steps, as a network of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from pytest_xai.diagnosis.graphs import Drawn, function_of

__all__ = ["Cut", "Tails"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A place between two steps.

    Attributes:
        place: how many steps ran before it; 0 is the input.
        live: what the steps behind it read, tensors (N, ...) each.
        plain: one tensor carries everything, and nothing behind writes into it. At other
            places the tensors are handed over flat and side by side, (N, total).
    """

    place: int
    live: tuple[fx.Node, ...]
    plain: bool


class Tails:
    """The tails of a network: they share its modules, so that it should be a copy.

    Args:
        drawn: the network as a graph.
    """

    def __init__(self, drawn: Drawn) -> None:
        self.drawn = drawn
        nodes = list(drawn.graph.nodes)
        start = next(node for node in nodes if node.op == "placeholder")
        moving = {start}
        for node in nodes:
            if any(source in moving for source in node.all_input_nodes):
                moving.add(node)
        self.steps = [node for node in nodes if node in moving and node.op != "output"]
        self.output = next(node for node in nodes if node.op == "output")
        # A wrapper may answer for its model's names, and not for its own.
        self._modules = dict(drawn.root.named_modules(remove_duplicate=False))
        self._places = {node: place for place, node in enumerate(self.steps)}

    @cached_property
    def cuts(self) -> list[Cut]:
        """All places at which the network can be cut, from the input on; the last is the output."""
        found: list[Cut] = []
        for place in range(len(self.steps)):
            cut = self._cut(place)
            if cut is not None and not (found and found[-1].live == cut.live):
                found.append(cut)
        return found

    def between(self, start: Cut, stop: Cut) -> list[fx.Node]:
        """The steps that run between two cuts."""
        return self.steps[start.place + 1 : stop.place + 1]

    def head(self, cut: Cut) -> nn.Module:
        """The network up to a cut: (N, *shape) to what the tail takes."""
        graph, known = fx.Graph(), dict[fx.Node, Any]()
        for node in self.drawn.graph.nodes:
            if node.op == "output" or self._is_behind(node, cut):
                continue
            known[node] = graph.node_copy(node, known.__getitem__)
        given = [known[node] for node in cut.live]
        if not cut.plain:
            flat = [graph.call_method("flatten", (node, 1)) for node in given]
            given = [graph.call_function(torch.cat, (flat, 1))]
        graph.output(given[0])
        return self._module(graph)

    def tail(self, cut: Cut) -> nn.Module:
        """The network behind a cut: what the head gives to the outputs, (N, classes)."""
        graph = fx.Graph()
        inputs = graph.placeholder("inputs")
        known = self._handed_over(graph, inputs, cut)
        for node in self.drawn.graph.nodes:
            if node.op == "output":
                graph.output(known[node.args[0]])
            elif node not in known and (node not in self._places or self._is_behind(node, cut)):
                known[node] = graph.node_copy(node, known.__getitem__)
        return self._module(graph)

    def _handed_over(self, graph: fx.Graph, inputs: fx.Node, cut: Cut) -> dict[fx.Node, Any]:
        """What the tail has for each value from before the cut."""
        known: dict[fx.Node, Any] = {}
        for node in self.steps[: cut.place + 1]:
            one, two = self.drawn.values[node]
            used = any(self._is_behind(user, cut) for user in node.users)
            if used and _is_number(one) and _is_number(two):
                same = one == two
                known[node] = one if same else graph.call_method("size", (inputs, 0))
        if cut.plain:
            return {**known, cut.live[0]: inputs}
        start = 0
        for node in cut.live:
            shape = self.drawn.values[node][0].shape
            size = shape.numel()
            part = graph.call_function(torch.narrow, (inputs, 1, start, size))
            whole = graph.call_method("reshape", (part, -1, *shape[1:]))
            # What runs behind may write into it, which a view of a leaf forbids.
            known[node] = graph.call_method("clone", (whole,))
            start += size
        return known

    def _cut(self, place: int) -> Cut | None:
        """The cut behind the step at this place; None: it cannot be cut there."""
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

    def _is_behind(self, node: fx.Node, cut: Cut) -> bool:
        return self._places.get(node, -1) > cut.place

    def is_tensor(self, node: fx.Node) -> bool:
        """Whether a step gives a tensor, not a size or a tuple of several."""
        return isinstance(self.drawn.values[node][0], Tensor)

    def _is_batch(self, node: fx.Node) -> bool:
        one, two = self.drawn.values[node]
        return all(
            isinstance(value, Tensor)
            and value.is_floating_point()
            and value.ndim >= 2
            and len(value) == count
            for value, count in ((one, 1), (two, 2))
        )

    def _blocks(self, node: fx.Node) -> bool:
        """Whether a value other than a batch of tensors cannot be had behind a cut."""
        one, two = self.drawn.values[node]
        return not (_is_number(one) and _is_number(two) and (one == two or (one, two) == (1, 2)))

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a step runs; None: it is a function."""
        return self._modules[str(node.target)] if node.op == "call_module" else None

    def runs(self) -> Mapping[fx.Node, tuple[int, int]]:
        """Of each step that runs a module: which run of that module it is, of how many."""
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
        """Whether a step may write into what it reads."""
        if node.op == "call_module":
            return bool(getattr(self.module(node), "inplace", False))
        name = function_of(node)
        return name.endswith("_") or name in _IN_PLACE or node.kwargs.get("inplace") is True

    def _module(self, graph: fx.Graph) -> nn.Module:
        return fx.GraphModule(self.drawn.root, graph).eval()


# Functions of `operator` that stand for +=, -= and the like.
_IN_PLACE = frozenset({"iadd", "isub", "imul", "itruediv", "ipow", "ior", "iand"})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | torch.dtype | torch.device)
