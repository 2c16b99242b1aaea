"""The subject of the checks: a validated model with inputs, targets and optional ground truth."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument

__all__ = ["Subject", "evaluating"]


class Subject:
    """A model with the inputs whose explanations are checked.

    Args:
        model: maps (N, *shape) to logits (N, classes). A model with one output per input, (N,) or
            (N, 1), is treated as a binary classifier: its output is the logit of the positive
            class, which is predicted above 0, and all targets are 0.
        inputs: floating (N, *shape), N >= 1, finite. They are treated as a sample of the data:
            checks use them in a random order that depends on the seed of the run.
        targets: the class explained per input, integers (N,) or one integer for all; None: the
            predicted class.
        baseline: the reference input x' of completeness-type explainers, broadcastable to
            the inputs; None: zeros.
        bounds: smallest and largest value an input may take, (low, high); None: adversarial
            checks use the range of the inputs.
        masks: ground truth, true on the object, (N, *spatial) or the inputs' shape.
        permuted_model: a network with the architecture of ``model`` that was trained to high
            accuracy on the same data with permuted labels, or a function that returns one. The
            function is called when a check needs it. None: data_randomisation does not apply.
        name: its name in reports; None: the model's class name.
        device: the device for model and inputs; None: the device of the inputs.
        truths: correct maps that are known in closed form, (N, *shape) or (N, 1, *spatial) each,
            by the method name that explainers declare. For a stochastic explainer the truth is
            looked up under "any draw of <method>"; give one only if every draw has the same
            map. None: no map is known, and the check ground_truth does not apply.

    Raises:
        InvalidArgument: the message names the argument, the value given and the value expected.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        targets: Tensor | Sequence[int] | int | None = None,
        baseline: Tensor | float | None = None,
        bounds: tuple[float, float] | None = None,
        masks: Tensor | None = None,
        name: str | None = None,
        device: str | torch.device | None = None,
        permuted_model: nn.Module | Callable[[], nn.Module] | None = None,
        truths: Mapping[str, Tensor] | None = None,
    ) -> None:
        _require_model(model)
        _require_inputs(inputs)
        self.device = inputs.device if device is None else _device(device)
        self.inputs = inputs.detach().to(self.device)
        self.bounds = _bounds(bounds, self.inputs)
        self.name = _name(name, model)
        model = model.to(self.device)
        outputs = _outputs(model, self.inputs[:1])
        _require_rows(model, self.inputs[:2])
        self.model: nn.Module = SingleOutput(model) if outputs.ndim == 1 else model
        self.classes: int = 1 if outputs.ndim == 1 else outputs.shape[1]
        self.baseline = _baseline(baseline, self.inputs)
        self.masks = _masks(masks, self.inputs)
        self.truths = _truths(truths, self.inputs)
        self._permuted = permuted_model
        self.predicted = targets is None
        self.targets = (
            self._predictions()
            if targets is None
            else _targets(targets, len(self.inputs), self.classes).to(self.device)
        )

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        return (
            f"Subject({self.name!r}, inputs {tuple(self.inputs.shape)}, {self.classes} classes, "
            f"{self.inputs.dtype}, {self.device})"
        )

    def double(self) -> "Subject":
        """Return a copy in float64 with a deep copy of the model and the same targets.

        Raises:
            Exception: the deep copy of the model failed.
        """
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model).double()
        twin.inputs = self.inputs.double()
        twin.baseline = self.baseline.double()
        twin.truths = {method: truth.double() for method, truth in self.truths.items()}
        return twin

    def permuted(self) -> nn.Module | None:
        """Return a copy of the network that was trained on permuted labels, in evaluation mode.

        Returns:
            A new copy at every call, with the inputs' dtype and device; None if there is none.

        Raises:
            InvalidArgument: it is not a network with as many outputs as the model.
        """
        if self._permuted is None:
            return None
        given = self._permuted
        made = given if isinstance(given, nn.Module) else given()
        if not isinstance(made, nn.Module):
            raise InvalidArgument.of(
                "permuted_model", got=type(made).__name__, expected="a torch.nn.Module"
            )
        made = copy.deepcopy(made).to(self.device, self.inputs.dtype).eval()
        with torch.no_grad():
            outputs = made(self.inputs[:1].clone())
        if outputs.ndim == 1:
            made, outputs = SingleOutput(made).eval(), outputs.unsqueeze(1)
        if tuple(outputs.shape) != (1, self.classes):
            raise InvalidArgument.of(
                "permuted_model",
                got=f"outputs of shape {tuple(outputs.shape)} for one input",
                expected=f"(1, {self.classes}), the shape of the model's outputs",
            )
        return made

    def _predictions(self) -> Tensor:
        if self.classes == 1:
            return torch.zeros(len(self), dtype=torch.long, device=self.device)
        chunks = [_outputs(self.model, chunk) for chunk in self.inputs.split(32)]
        return torch.cat(chunks).argmax(1)


class SingleOutput(nn.Module):
    """Wraps a model with outputs (N,) so that they have shape (N, 1)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.model(inputs)
        return outputs.unsqueeze(1)

    def get_submodule(self, target: str) -> nn.Module:
        """Return a layer by its name in the user's own model."""
        return self.model.get_submodule(target)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set all modules to evaluation mode, and restore their modes on exit."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _require_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise InvalidArgument.of("model", got=type(model).__name__, expected="a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise InvalidArgument.of(
            "model", got="a TorchScript module", expected="the torch.nn.Module it was made from"
        )


def _require_inputs(inputs: object) -> None:
    expected = "a floating tensor (N, *shape) with N >= 1 and finite values"
    if not isinstance(inputs, Tensor):
        raise InvalidArgument.of("inputs", got=type(inputs).__name__, expected=expected)
    if not inputs.is_floating_point():
        raise InvalidArgument.of("inputs", got=f"dtype {inputs.dtype}", expected=expected)
    if inputs.ndim < 2 or inputs.numel() == 0:
        raise InvalidArgument.of("inputs", got=f"shape {tuple(inputs.shape)}", expected=expected)
    bad = (~torch.isfinite(inputs)).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise InvalidArgument.of(
            "inputs", got=f"NaN or infinite values in image {bad[0]}", expected=expected
        )


def _device(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InvalidArgument.of(
            "device", got=repr(device), expected=f"a device of this machine ({error})"
        ) from error
    return found


def _name(name: object, model: nn.Module) -> str:
    if name is None:
        return type(model).__name__
    if not isinstance(name, str) or not name:
        raise InvalidArgument.of("name", got=repr(name), expected="a non-empty string")
    return name


def _bounds(bounds: object, inputs: Tensor) -> tuple[float, float] | None:
    if bounds is None:
        return None
    expected = "(low, high), two finite numbers with low < high"
    try:
        low, high = (float(value) for value in bounds)  # type: ignore[attr-defined]  # user input
    except (TypeError, ValueError) as error:
        raise InvalidArgument.of("bounds", got=repr(bounds), expected=expected) from error
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidArgument.of("bounds", got=repr(bounds), expected=expected)
    least, most = float(inputs.min()), float(inputs.max())
    # Users compute bounds such as (0 - mean) / std in float64, but inputs in their own dtype.
    rounding = 4 * torch.finfo(inputs.dtype).eps * max(abs(low), abs(high))
    if least < low - rounding or most > high + rounding:
        raise InvalidArgument.of(
            "bounds",
            got=f"({low:g}, {high:g}) with inputs from {least:g} to {most:g}",
            expected="bounds that contain all inputs",
        )
    return min(low, least), max(high, most)


def _outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    expected = "outputs (N, classes), or (N,) or (N, 1) for a single logit"
    try:
        with torch.no_grad(), evaluating(model):
            # Cloned, because some models change their inputs in place.
            outputs = model(inputs.clone())
    except Exception as error:
        raise InvalidArgument.of(
            "model",
            got=f"{type(error).__name__} on inputs of shape {tuple(inputs.shape)}: {error}",
            expected=expected,
        ) from error
    if not isinstance(outputs, Tensor):
        raise InvalidArgument.of("model", got=f"{type(outputs).__name__}", expected=expected)
    if outputs.ndim not in (1, 2) or len(outputs) != len(inputs) or outputs.numel() == 0:
        raise InvalidArgument.of(
            "model",
            got=f"outputs of shape {tuple(outputs.shape)} for {len(inputs)} inputs",
            expected=expected,
        )
    if not outputs.is_floating_point():
        raise InvalidArgument.of("model", got=f"outputs of {outputs.dtype}", expected=expected)
    if not torch.isfinite(outputs).all():
        raise InvalidArgument.of("model", got="NaN or infinite outputs", expected=expected)
    return outputs


def _require_rows(model: nn.Module, inputs: Tensor) -> None:
    """Refuse a model that returns one row for a whole batch; a single image cannot show this."""
    try:
        _outputs(model, inputs)
    except InvalidArgument as error:
        # If memory suffices for one image only, the bench evaluates one image at a time.
        if not isinstance(error.__cause__, (torch.OutOfMemoryError, MemoryError)):
            raise


def _baseline(baseline: Tensor | float | None, inputs: Tensor) -> Tensor:
    shape = tuple(inputs.shape)
    if baseline is None:
        return inputs.new_zeros((1, *shape[1:]))
    expected = f"a finite number or tensor that broadcasts to {shape} or {shape[1:]}"
    try:
        tensor = torch.as_tensor(baseline, device=inputs.device).detach().to(inputs.dtype)
        rows = shape[0] if tensor.ndim == len(shape) and tensor.shape[0] != 1 else 1
        tensor = tensor.expand(rows, *shape[1:])
    except (RuntimeError, TypeError, ValueError) as error:
        got = f"shape {tuple(baseline.shape)}" if isinstance(baseline, Tensor) else repr(baseline)
        raise InvalidArgument.of("baseline", got=got, expected=expected) from error
    if not torch.isfinite(tensor).all():
        raise InvalidArgument.of("baseline", got="NaN or infinite values", expected=expected)
    return tensor


def _masks(masks: object, inputs: Tensor) -> Tensor | None:
    if masks is None:
        return None
    shape = tuple(inputs.shape)
    spatial = (shape[0], *shape[2:]) if len(shape) > 2 else shape
    expected = f"a boolean or 0/1 tensor of shape {spatial} or one that broadcasts to {shape}"
    if not isinstance(masks, Tensor):
        raise InvalidArgument.of("masks", got=type(masks).__name__, expected=expected)
    tensor = masks.to(inputs.device)
    if tuple(tensor.shape) == spatial and len(shape) > 2:
        tensor = tensor.unsqueeze(1)
    try:
        tensor = tensor.expand(shape)
    except RuntimeError as error:
        raise InvalidArgument.of(
            "masks", got=f"shape {tuple(masks.shape)}", expected=expected
        ) from error
    if not ((tensor == 0) | (tensor == 1)).all():
        raise InvalidArgument.of("masks", got="values other than 0 and 1", expected=expected)
    return tensor.bool()


def _truths(truths: object, inputs: Tensor) -> dict[str, Tensor]:
    if truths is None:
        return {}
    shape = tuple(inputs.shape)
    spatial = (shape[0], 1, *shape[2:]) if len(shape) > 2 else shape
    expected = f"finite floating tensors of shape {shape} or {spatial} by name of method"
    if not isinstance(truths, Mapping):
        raise InvalidArgument.of("truths", got=type(truths).__name__, expected=expected)
    for method, truth in truths.items():
        if not isinstance(method, str) or not method:
            raise InvalidArgument.of("truths", got=f"the name {method!r}", expected=expected)
        if not isinstance(truth, Tensor) or not truth.is_floating_point():
            got = f"{type(truth).__name__} for {method!r}"
            raise InvalidArgument.of("truths", got=got, expected=expected)
        if tuple(truth.shape) not in (shape, spatial) or not torch.isfinite(truth).all():
            got = f"shape {tuple(truth.shape)}, or values not finite, for {method!r}"
            raise InvalidArgument.of("truths", got=got, expected=expected)
    return {
        method: truth.detach().to(inputs.device, inputs.dtype) for method, truth in truths.items()
    }


def _targets(targets: Tensor | Sequence[int] | int, count: int, classes: int) -> Tensor:
    expected = f"{count} class indices from 0 to {classes - 1}, or one for all"
    try:
        tensor = torch.as_tensor(targets).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidArgument.of("targets", got=repr(targets), expected=expected) from error
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise InvalidArgument.of("targets", got=f"dtype {tensor.dtype}", expected=expected)
    tensor = tensor.long()
    if tensor.ndim == 0:
        tensor = tensor.expand(count)
    if tensor.shape != (count,):
        raise InvalidArgument.of("targets", got=f"shape {tuple(tensor.shape)}", expected=expected)
    if tensor.min() < 0 or tensor.max() >= classes:
        raise InvalidArgument.of(
            "targets",
            got=f"values from {int(tensor.min())} to {int(tensor.max())}",
            expected=expected,
        )
    return tensor
