"""The forward pass of relevance propagation, which sets a rule on every call."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytest_xai.core.optional import require
from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.zennit import functions
from pytest_xai.explainers.zennit.calls import Call, active, attached, in_place, name_of
from pytest_xai.explainers.zennit.folding import Folding, Normalisation
from pytest_xai.explainers.zennit.rules import Layer, Rules, exact

__all__ = ["Propagation"]


class Propagation(TorchFunctionMode):
    """Sets a rule on every call of the forward pass that runs inside the context.

    Attributes:
        live: the rules, which must be kept until the backward pass is over.
    """

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = rules
        self.zennit = require("zennit.rules", extra="zennit")
        self.live: list[Any] = []
        self.folding = Folding()
        self.nodes: set[Any] = set()
        self.where: list[str] = []

    @contextmanager
    def located(self, model: nn.Module) -> Iterator[None]:
        """Track which module is running, for messages."""
        handles = []
        for name, module in model.named_modules():
            text = f"{name} ({type(module).__name__})" if name else type(module).__name__

            def enter(*_: object, text: str = text) -> None:
                self.where.append(text)

            def leave(*_: object) -> None:
                del self.where[-1:]

            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        reads = active((args, kwargs))
        if not reads:
            return func(*args, **kwargs)
        name = name_of(func)
        if kwargs.get("training") and name != "batch_norm":
            raise self._none_for(f"{name} in training mode")
        rule = self._rule(name, len(reads))
        if name in functions.CONVOLUTIONS or name == functions.DENSE:
            result = self._layer(func, name, args, kwargs)
        elif name == "batch_norm":
            result = self._batch_norm(func, args, kwargs)
        elif rule is not None:
            result = self._ruled(func, rule, args, kwargs)
        else:
            result = func(*args, **kwargs)
            if active(result) and name not in functions.ROUTED:
                raise self._none_for(name)
        if (result is None or active(result)) and not self.folding.read(reads):
            raise self._none_for("a layer's output that is read by more than its batch_norm")
        return result

    def _none_for(self, name: str) -> NotApplicable:
        where = self.where[-1] if self.where else "the model"
        return NotApplicable(f"there is no rule of relevance propagation for {name} in {where}")

    def _rule(self, name: str, reads: int) -> Any:
        """Return the hook for a call without weights, or None if the function has no rule."""
        if name in functions.PASSED and reads == 1:
            return self.zennit.Pass()
        if name in functions.SUMMED and reads <= 2:
            alone = name.endswith(("add", "sub", "subtract")) and reads == 1
            return self._shift() if alone else self.zennit.Norm(stabilizer=exact)
        if name in functions.SCALED and reads == 1:
            # The relevance is passed on unchanged, except where the factor is 0.
            return self.zennit.Flat(stabilizer=exact)
        return None

    def _shift(self) -> Any:
        return self.zennit.Norm(stabilizer=exact) if self.rules.share else self.zennit.Pass()

    def _ruled(
        self, func: Callable[..., Any], rule: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        """Run a call without weights on one activation, or on two that are added, with a rule."""
        values = [*args, *kwargs.values()]
        places = [place for place, value in enumerate(values) if active(value)]
        if not all(isinstance(values[place], Tensor) for place in places):
            raise self._none_for(name_of(func))
        if places == [1] and name_of(func).endswith(("div", "divide")):
            raise self._none_for("division by an activation")
        overwrites = in_place(func, kwargs)

        def run(inputs: Tensor) -> Any:
            parts = inputs.unbind(-1) if len(places) > 1 else (inputs,)
            now = list(values)
            for place, part in zip(places, parts, strict=True):
                now[place] = part.clone() if overwrites else part
            return func(*now[: len(args)], **dict(zip(kwargs, now[len(args) :], strict=True)))

        sides = torch.broadcast_tensors(*(values[place] for place in places))
        inputs = torch.stack(sides, -1) if len(places) > 1 else sides[0]
        result = attached(Call(run), rule, inputs, live=self.live)
        return values[0].copy_(result) if overwrites else result

    def _layer(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        """Run a linear layer with the rule that the explainer chooses."""
        names = ("input", "weight", "bias")
        values = dict(zip(names, args, strict=False))
        values |= {key: value for key, value in kwargs.items() if key in names}
        others = {key: value for key, value in kwargs.items() if key not in names}
        inputs, weight, bias = values["input"], values["weight"], values.get("bias")
        if active((weight, bias)):
            raise self._none_for(f"{name} with weights that depend on the inputs")

        def run(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
            return func(inputs, weight, bias, *args[3:], **others)

        convolution = name in functions.CONVOLUTIONS
        layer = Layer(convolution=convolution, first=self._is_first(inputs), inputs=inputs.detach())
        rule = self.rules.layer(self.zennit, layer)
        call = Call(run, weight, bias)
        output: Tensor = attached(call, rule, inputs, live=self.live)
        self.nodes.add(output.grad_fn)
        self.folding.add(output, call, name)
        return output

    def _is_first(self, inputs: Tensor) -> bool:
        todo: list[Any] = [inputs.grad_fn]
        seen: set[Any] = set()
        while todo:
            node = todo.pop()
            if node in self.nodes:
                return False
            if node is not None and node not in seen:
                seen.add(node)
                todo += [before for before, _ in node.next_functions]
        return True

    def _batch_norm(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        """Run a batch normalisation, folded into the layer before it if possible."""
        norm = Normalisation.of(args, kwargs)
        if norm.training or norm.mean is None:
            raise self._none_for("batch_norm with the statistics of the batch")
        rest = {key: value for key, value in kwargs.items() if key != "input"}
        rule = self.zennit.Pass() if self.folding.fold(norm) else self._shift()
        call = Call(lambda inputs: func(inputs, *args[1:], **rest))
        return attached(call, rule, norm.inputs, live=self.live)
