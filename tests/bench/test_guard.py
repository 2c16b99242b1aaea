"""Whatever a guest changes is put back, said by its right name, and not blamed on the wrong one."""

import copy
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import module as module_globals

from fixtures.loops import in_one_test
from pytest_xai import Subject
from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guard import Guard, SideEffect
from pytest_xai.errors import GuestError
from pytest_xai.protocol import named


class Inner(nn.Module):
    """A block with everything a guest may lay hands on: modes, tensors, attributes, children."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("steps", torch.arange(3))
        self.mean = torch.arange(4.0)
        self.scale = 2.0
        self.empty = None

    def forward(self, inputs):
        return self.drop(self.norm(inputs)) * self.scale


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), Inner(), nn.Linear(4, 2))
    model[1].norm.running_mean.normal_()
    model[1].norm.running_var.uniform_(0.5, 2.0)
    model[2].weight.requires_grad_(False)
    model[2].bias.grad = torch.full((2,), 7.0)
    return model.eval()


def watched(change, model=None):
    """What the guard says of a change, as (kind, where); and the model after it."""
    model = network() if model is None else model
    guard = Guard(model)
    with guard.watch() as effects:
        change(model)
    with guard.watch() as again:
        pass
    assert again == [], "the first watch did not put all of it back"
    return [(effect.kind, effect.where) for effect in effects], model


def state(model):
    """All that can be compared by value: tensors with their flags, modes, attributes, hooks."""
    tensors = [*model.named_parameters(), *model.named_buffers(), ("1.mean", model[1].mean)]
    return {
        "values": {name: tensor.detach().numpy().tobytes() for name, tensor in tensors},
        "flags": {name: (tensor.requires_grad, tensor.dtype) for name, tensor in tensors},
        "grads": {
            name: None if tensor.grad is None else tensor.grad.numpy().tobytes()
            for name, tensor in tensors
        },
        "modes": {name: module.training for name, module in model.named_modules()},
        "attributes": {
            name: {key: id(value) for key, value in vars(module).items() if key[0] != "_"}
            for name, module in model.named_modules()
        },
        "hooks": {
            name: {
                key: list(value.items())
                for key, value in vars(module).items()
                if "hook" in key and isinstance(value, dict)
            }
            for name, module in model.named_modules()
        },
        "order": [
            (name, list(module._modules), list(module._parameters), list(module._buffers))
            for name, module in model.named_modules()
        ],
        "identities": [id(part) for part in (*model.modules(), *model.parameters())],
    }


def nothing(*arguments):
    """A hook that does nothing."""


def set_to(path, value):
    def change(model):
        owner, _, name = path.rpartition(".")
        setattr(model.get_submodule(owner), name, value)

    return change


def delete(path):
    def change(model):
        owner, _, name = path.rpartition(".")
        delattr(model.get_submodule(owner), name)

    return change


def edit(path, how):
    """Change a parameter or buffer in place."""

    def change(model):
        owner, _, name = path.rpartition(".")
        with torch.no_grad():
            how(getattr(model.get_submodule(owner), name))

    return change


def backward(model):
    model(torch.ones(2, 3)).sum().backward()


def convert(model):
    model.double()


def rebind(path, make):
    """Give a parameter other storage: `.data = ...` leaves no trace in its version."""

    def change(model):
        tensor = model.get_parameter(path)
        tensor.data = make(tensor.data)

    return change


CHANGES = {
    "train mode of all": (
        lambda model: model.train(),
        [
            ("training mode", "Sequential"),
            ("training mode", "0"),
            ("training mode", "1"),
            ("training mode", "1.norm"),
            ("training mode", "1.drop"),
            ("training mode", "2"),
        ],
    ),
    "train mode of one": (
        lambda model: model[1].drop.train(),
        [("training mode", "1.drop")],
    ),
    "weight in place": (edit("0.weight", lambda w: w.add_(1)), [("parameter", "0.weight")]),
    "one element of a weight": (
        edit("0.weight", lambda w: w[3, 2].mul_(1 + 1e-6)),
        [("parameter", "0.weight")],
    ),
    "weight to nan": (edit("0.weight", lambda w: w.fill_(np.nan)), [("parameter", "0.weight")]),
    "weight through data": (
        lambda model: model[0].weight.data.zero_(),
        [("parameter", "0.weight")],
    ),
    "weight through numpy": (
        lambda model: model[0].weight.detach().numpy().fill(0),
        [("parameter", "0.weight")],
    ),
    "other storage": (rebind("0.weight", torch.zeros_like), [("parameter", "0.weight")]),
    "other shape": (rebind("0.weight", lambda w: w[:2]), [("parameter", "0.weight")]),
    "other dtype": (rebind("0.weight", torch.Tensor.double), [("parameter", "0.weight")]),
    "all to double": (
        convert,
        [
            ("parameter", "0.weight"),
            ("parameter", "0.bias"),
            ("parameter", "1.norm.weight"),
            ("parameter", "1.norm.bias"),
            ("parameter", "2.weight"),
            ("parameter", "2.bias"),
            ("grad", "2.bias"),
            ("buffer", "1.norm"),
        ],
    ),
    "parameter replaced": (
        set_to("0.weight", nn.Parameter(torch.zeros(4, 3))),
        [("parameter", "0")],
    ),
    "parameter replaced by an equal one": (
        lambda model: setattr(model[0], "bias", nn.Parameter(model[0].bias.detach().clone())),
        [("parameter", "0")],
    ),
    "parameter deleted": (delete("0.bias"), [("parameter", "0")]),
    "parameter set to none": (set_to("0.bias", None), [("parameter", "0")]),
    "parameter added": (set_to("1.extra", nn.Parameter(torch.ones(1))), [("parameter", "1")]),
    "buffer in place": (
        edit("1.norm.running_var", lambda v: v.mul_(2)),
        [("buffer", "1.norm.running_var")],
    ),
    "integer buffer in place": (edit("1.steps", lambda v: v.add_(1)), [("buffer", "1.steps")]),
    "buffer replaced": (set_to("1.steps", torch.arange(3)), [("buffer", "1")]),
    "buffer added": (
        lambda model: model[1].register_buffer("more", torch.ones(1)),
        [("buffer", "1")],
    ),
    "buffer deleted": (delete("1.steps"), [("buffer", "1")]),
    "frozen": (
        lambda model: model[0].requires_grad_(False),
        [("requires_grad", "0.weight"), ("requires_grad", "0.bias")],
    ),
    "unfrozen": (
        lambda model: model[2].weight.requires_grad_(),
        [("requires_grad", "2.weight")],
    ),
    "grad written": (
        lambda model: setattr(model[0].weight, "grad", torch.ones(4, 3)),
        [("grad", "0.weight")],
    ),
    "grad overwritten": (
        lambda model: model[2].bias.grad.add_(1),
        [("grad", "2.bias")],
    ),
    "grad dropped": (lambda model: model.zero_grad(), [("grad", "2.bias")]),
    "grads of a backward pass": (
        backward,
        [
            ("grad", "0.weight"),
            ("grad", "0.bias"),
            ("grad", "1.norm.weight"),
            ("grad", "1.norm.bias"),
            ("grad", "2.bias"),
        ],
    ),
    "attribute changed": (set_to("1.scale", 3.0), [("attribute", "1.scale")]),
    "attribute added": (set_to("1.activations", [1]), [("attribute", "1.activations")]),
    "attribute deleted": (delete("1.scale"), [("attribute", "1.scale")]),
    "attribute that was none": (set_to("1.empty", 1), [("attribute", "1.empty")]),
    "tensor that is no buffer": (
        lambda model: model[1].mean.add_(1),
        [("attribute", "1.mean")],
    ),
    "attribute of the model itself": (set_to("note", 1), [("attribute", "Sequential.note")]),
    "forward replaced": (set_to("0.forward", nothing), [("attribute", "0.forward")]),
    "submodule replaced": (set_to("1.drop", nn.Identity()), [("submodule", "1")]),
    "submodule added": (lambda model: model.append(nn.ReLU()), [("submodule", "Sequential")]),
    "submodule deleted": (delete("1.drop"), [("submodule", "1")]),
    "submodules in another order": (
        lambda model: model[1]._modules.update(norm=model[1]._modules.pop("norm")),
        [("submodule", "1")],
    ),
}


@in_one_test("name", CHANGES)
def test_a_change_of_the_model_is_put_back_and_named(name):
    change, expected = CHANGES[name]
    model = network()
    before = state(model)
    effects, model = watched(change, model)
    assert state(model) == before
    assert sorted(effects) == sorted(expected)


@in_one_test("name", CHANGES)
def test_a_change_before_an_exception_is_put_back_as_well(name):
    change, expected = CHANGES[name]
    model = network()
    before, guard = state(model), Guard(model)
    seen = []

    def guest():
        with guard.watch() as effects:
            seen.append(effects)
            change(model)
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # it has no text
        guest()
    assert state(model) == before
    assert sorted((effect.kind, effect.where) for effect in seen[0]) == sorted(expected)


def test_a_new_grad_of_the_same_value_is_put_back():
    model = network()
    grad = model[2].bias.grad

    def change(model):
        model[2].bias.grad = grad.clone()

    effects, model = watched(change, model)
    assert effects == [("grad", "2.bias")]
    assert model[2].bias.grad is grad


def test_the_storage_of_weights_stays_where_values_are_enough():
    model = network()
    places = [parameter.data_ptr() for parameter in model.parameters()]
    watched(edit("0.weight", lambda w: w.zero_()), model)
    assert [parameter.data_ptr() for parameter in model.parameters()] == places


def test_the_photograph_does_not_share_its_values_with_the_model():
    model = network()
    before = state(model)
    guard = Guard(model)
    for change in (rebind("0.weight", torch.Tensor.double), edit("0.weight", lambda w: w.zero_())):
        with guard.watch() as effects:
            change(model)
        assert [(effect.kind, effect.where) for effect in effects] == [("parameter", "0.weight")]
        assert state(model) == before


def test_details_say_what_happened():
    model = network()
    guard = Guard(model)
    with guard.watch() as effects:
        model[1].drop.train()
        model[2].weight.requires_grad_()
        del model[1].scale
        model[1].note = 1
        torch.set_default_dtype(torch.float64)
    assert {str(effect) for effect in effects} == {
        "training mode of 1.drop: left in train mode",
        "requires_grad of 2.weight: left True",
        "attribute of 1.scale: changed",
        "attribute of 1.note: added",
        "default dtype of torch: torch.float32 became torch.float64",
    }


def test_evaluation_mode_left_in_a_training_model():
    model = network().train()
    effects, model = watched(lambda model: model[1].eval(), model)
    assert effects == [("training mode", name) for name in ("1", "1.norm", "1.drop")]
    assert all(module.training for module in model.modules())


# ---------------------------------------------------------------------------------------- hooks

HOOKS = {
    "forward_hooks": lambda m: m.register_forward_hook(nothing),
    "forward_hooks always": lambda m: m.register_forward_hook(nothing, always_call=True),
    "forward_hooks kwargs": lambda m: m.register_forward_hook(nothing, with_kwargs=True),
    "forward_pre_hooks": lambda m: m.register_forward_pre_hook(nothing),
    "forward_pre_hooks kwargs": lambda m: m.register_forward_pre_hook(nothing, with_kwargs=True),
    "backward_hooks": lambda m: m.register_full_backward_hook(nothing),
    "backward_hooks old": lambda m: m.register_backward_hook(nothing),
    "backward_pre_hooks": lambda m: m.register_full_backward_pre_hook(nothing),
    "state_dict_hooks": lambda m: m.register_state_dict_post_hook(nothing),
    "state_dict_pre_hooks": lambda m: m.register_state_dict_pre_hook(nothing),
    "load_state_dict_pre_hooks": lambda m: m.register_load_state_dict_pre_hook(nothing),
    "load_state_dict_post_hooks": lambda m: m.register_load_state_dict_post_hook(nothing),
}


@in_one_test("where", ["", "1.norm"])
@in_one_test("name", HOOKS)
def test_a_hook_that_is_left_is_removed(name, where):
    model = network()
    before = state(model)
    guard = Guard(model)
    with guard.watch() as effects:
        HOOKS[name](model.get_submodule(where))
    assert [(effect.kind, effect.where) for effect in effects] == [("hook", where or "Sequential")]
    assert effects[0].detail.startswith(name.partition(" ")[0])
    after = state(model)
    assert after["hooks"] == before["hooks"]
    backward(model)


@in_one_test("name", HOOKS)
def test_a_hook_that_is_removed_again_is_no_effect(name):
    model = network()
    guard = Guard(model)
    with guard.watch() as effects:
        HOOKS[name](model[0]).remove()
    assert effects == []


@pytest.mark.parametrize("left", [False, True])
def test_a_backward_hook_of_either_kind_leaves_room_for_the_other(left):
    """One module does not take both kinds, not even after the first is gone."""
    model = network()
    guard = Guard(model)
    with guard.watch():
        handle = model[0].register_full_backward_hook(nothing)
        if not left:
            handle.remove()
    model[0].register_backward_hook(nothing)


def test_own_hooks_survive_in_their_order():
    model = network()
    called = []
    for name in "abc":
        model[0].register_forward_hook(lambda *_, name=name: called.append(name))
    guard = Guard(model)
    with guard.watch() as effects:
        hooks = model[0]._forward_hooks
        first = next(iter(hooks))
        hooks[first] = hooks.pop(first)
    assert [(effect.kind, effect.where) for effect in effects] == [("hook", "0")]
    model[0](torch.ones(1, 3))
    assert called == ["a", "b", "c"]


def test_own_hooks_that_were_removed_come_back():
    model = network()
    called = []
    handle = model[0].register_forward_hook(lambda *_: called.append(1))
    guard = Guard(model)
    with guard.watch() as effects:
        model[0]._forward_hooks.clear()
    assert [(effect.kind, effect.where) for effect in effects] == [("hook", "0")]
    model[0](torch.ones(1, 3))
    assert called == [1]
    handle.remove()
    model[0](torch.ones(1, 3))
    assert called == [1]


@pytest.mark.parametrize("emptied", [False, True])
def test_a_table_of_hooks_that_was_replaced_comes_back_itself(emptied):
    """Handles know their table, not their module: in another table they would find nothing."""
    model = network()
    handle = model[0].register_forward_hook(nothing)
    other = OrderedDict({} if emptied else model[0]._forward_hooks)
    effects, model = watched(set_to("0._forward_hooks", other), model)
    assert effects == [("hook", "0")]
    assert list(model[0]._forward_hooks.values()) == [nothing]
    handle.remove()
    assert not model[0]._forward_hooks


GLOBAL_HOOKS = {
    "forward": module_globals.register_module_forward_hook,
    "forward pre": module_globals.register_module_forward_pre_hook,
    "backward": module_globals.register_module_full_backward_hook,
    "backward pre": module_globals.register_module_full_backward_pre_hook,
    "module registration": module_globals.register_module_module_registration_hook,
    "parameter registration": module_globals.register_module_parameter_registration_hook,
    "buffer registration": module_globals.register_module_buffer_registration_hook,
}


@pytest.mark.parametrize("name", GLOBAL_HOOKS)
def test_hooks_on_all_modules_are_removed(name):
    handles = []

    def change(_):
        handles.append(GLOBAL_HOOKS[name](nothing))

    try:
        effects, _ = watched(change)
    finally:
        handles[0].remove()
    assert [kind for kind, _ in effects] == ["hook"]
    assert effects[0][1].startswith("all modules (_global")


def test_hooks_on_all_modules_of_somebody_else_stay():
    called = []
    handle = module_globals.register_module_forward_hook(lambda *_: called.append(1))
    try:
        effects, model = watched(nothing)
        model[0](torch.ones(1, 3))
    finally:
        handle.remove()
    assert effects == []
    assert called == [1]


@pytest.mark.parametrize("kind", ["register_hook", "register_post_accumulate_grad_hook"])
def test_a_hook_on_a_weight_is_removed(kind):
    model = network()
    guard = Guard(model)

    def zeroed(tensor):
        if tensor.grad is not None:
            tensor.grad.zero_()
        return torch.zeros_like(tensor) if kind == "register_hook" else None

    with guard.watch() as effects:
        getattr(model[0].weight, kind)(zeroed)
    assert [(effect.kind, effect.where) for effect in effects] == [("hook", "0.weight")]
    backward(model)
    assert model[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dropped", [False, True])
def test_an_own_hook_on_a_weight_survives(dropped):
    model = network()
    model[0].weight.register_hook(lambda grad: 2 * grad)
    backward(model)
    expected = model[0].weight.grad.clone()
    model[0].weight.grad = None

    def change(model):
        if dropped:
            model[0].weight._backward_hooks = None
        else:
            model[0].weight._backward_hooks.clear()

    effects, model = watched(change, model)
    assert effects == [("hook", "0.weight")]
    backward(model)
    assert torch.equal(model[0].weight.grad, expected)


# ----------------------------------------------------------------------------- the whole process


def cudnn(flag):
    backend, usual = torch.backends.cudnn, getattr(torch.backends.cudnn, flag)
    return (
        f"cudnn.{flag}",
        lambda: getattr(backend, flag),
        lambda: setattr(backend, flag, not usual),
        lambda: setattr(backend, flag, usual),
    )


SETTINGS = {
    "default dtype": (
        "torch",
        torch.get_default_dtype,
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_dtype(torch.float32),
    ),
    "deterministic algorithms": (
        "torch deterministic algorithms",
        torch.are_deterministic_algorithms_enabled,
        lambda: torch.use_deterministic_algorithms(True),
        lambda: torch.use_deterministic_algorithms(False),
    ),
    "deterministic algorithms, warned": (
        "torch deterministic algorithms",
        torch.is_deterministic_algorithms_warn_only_enabled,
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        lambda: torch.use_deterministic_algorithms(False),
    ),
    "anomaly detection": (
        "autograd anomaly detection",
        torch.is_anomaly_enabled,
        lambda: torch.autograd.set_detect_anomaly(True),
        lambda: torch.autograd.set_detect_anomaly(False),
    ),
    **{f"cudnn.{flag}": cudnn(flag) for flag in ("enabled", "benchmark", "deterministic")},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_process_is_put_back_and_named(name):
    where, read, write, reset = SETTINGS[name]
    before = read()
    guard = Guard(network())
    try:
        with guard.watch() as effects:
            write()
            assert read() != before
        after = read()
    finally:
        reset()
    assert after == before
    kind = "default dtype" if name == "default dtype" else "backend flag"
    assert [(effect.kind, effect.where) for effect in effects] == [(kind, where)]


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_gradients_are_on_inside_and_as_they_were_outside(outside, left):
    guard = Guard(network())
    with torch.set_grad_enabled(outside):
        with guard.watch() as effects:
            assert torch.is_grad_enabled()
            torch.set_grad_enabled(left)
        assert torch.is_grad_enabled() is outside
    expected = [] if left else [SideEffect("grad mode", "torch", "left disabled")]
    assert effects == expected


def test_the_grad_mode_is_put_back_after_an_exception():
    guard = Guard(network())

    def guest():
        with guard.watch():
            torch.set_grad_enabled(False)
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # it has no text
        guest()
    assert torch.is_grad_enabled()


# ------------------------------------------------------------------- models that are not simple


def test_nothing_changed_is_no_effect():
    def use(model):
        model(torch.ones(2, 3))

    assert watched(use)[0] == []


def test_nan_weights_are_no_effect_and_come_back():
    model = network()
    with torch.no_grad():
        model[0].weight[1, 1] = np.nan
        model[1].norm.running_mean[0] = np.nan
    before = state(model)
    assert watched(nothing, model)[0] == []
    effects, model = watched(edit("0.weight", lambda w: w[1, 1].fill_(0)), model)
    assert effects == [("parameter", "0.weight")]
    assert state(model) == before


def test_infinite_weights_are_compared_by_sign():
    model = network()
    with torch.no_grad():
        model[0].weight[0, 0] = np.inf
    assert watched(nothing, model)[0] == []
    effects, _ = watched(edit("0.weight", lambda w: w[0, 0].neg_()), model)
    assert effects == [("parameter", "0.weight")]


def test_a_tied_weight_is_one_weight():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    effects, model = watched(edit("1.weight", lambda w: w.zero_()), model)
    assert effects == [("parameter", "0.weight")]
    assert model[0].weight.abs().sum() > 0
    effects, model = watched(set_to("1.weight", nn.Parameter(torch.zeros(3, 3))), model)
    assert effects == [("parameter", "1")]
    assert model[1].weight is model[0].weight


def test_a_module_in_two_places_is_one_module():
    block = nn.Linear(3, 3)
    model = nn.Sequential(block, nn.ReLU(), block).eval()
    effects, model = watched(lambda model: model[2].train(), model)
    assert effects == [("training mode", "0")]
    assert not model[0].training


def test_a_submodule_taken_out_is_restored_inside_as_well():
    def change(model):
        inner = model[1]
        model[1] = nn.Identity()
        inner.norm.train()
        inner.norm.running_mean.zero_()

    model = network()
    before = state(model)
    effects, model = watched(change, model)
    assert state(model) == before
    assert sorted(effects) == [
        ("buffer", "1.norm.running_mean"),
        ("submodule", "Sequential"),
        ("training mode", "1.norm"),
    ]


def test_weights_that_lie_anywhere_in_memory_are_compared():
    model = network()
    everything = torch.randn(99)
    model[0].weight = nn.Parameter(everything[1:13].reshape(4, 3))
    model[2].weight = nn.Parameter(everything[20:36:2].reshape(2, 4))
    assert watched(nothing, model)[0] == []
    for name in ("0.weight", "2.weight"):
        effects, _ = watched(edit(name, lambda w: w[1, 2].add_(1)), model)
        assert effects == [("parameter", name)]


def test_a_tensor_that_was_computed_from_weights_is_watched_too():
    model = network()
    model[1].kernel = 2 * model[0].weight
    assert watched(nothing, model)[0] == []
    effects, _ = watched(lambda model: model[1].kernel.data.zero_(), model)
    assert effects == [("attribute", "1.kernel")]
    assert torch.equal(model[1].kernel, 2 * model[0].weight)


def test_a_buffer_that_became_part_of_a_graph_comes_back_as_a_leaf():
    def change(model):
        model[1].norm.running_mean.add_(model[0].weight.mean())

    effects, model = watched(change)
    assert ("buffer", "1.norm.running_mean") in effects
    assert model[1].norm.running_mean.is_leaf
    assert not model[1].norm.running_mean.requires_grad
    copy.deepcopy(model)


def test_a_parametrisation_that_is_left_is_taken_off():
    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    model = network()
    expected, kind = model(torch.ones(2, 3)).detach(), type(model[0])
    before = state(model)

    def change(model):
        nn.utils.parametrize.register_parametrization(model[0], "weight", Doubled())

    effects, model = watched(change, model)
    assert effects
    assert {where.partition(".")[0] for _, where in effects} == {"0"}
    assert type(model[0]) is kind
    assert state(model) == before
    assert torch.equal(model(torch.ones(2, 3)), expected)


def test_refresh_takes_the_present_values_for_those_to_keep():
    model = network()
    guard = Guard(model)
    with torch.no_grad():
        model[0].weight.fill_(5)
        model[1].norm.running_var.fill_(6)
    guard.refresh()
    with guard.watch() as untouched:
        pass
    with guard.watch() as effects, torch.no_grad():
        model[0].weight.zero_()
        model[1].norm.running_var.zero_()
    assert untouched == []
    assert len(effects) == 2
    assert (model[0].weight == 5).all()
    assert (model[1].norm.running_var == 6).all()


def test_refresh_of_a_layer_takes_the_values_that_it_owns_itself():
    model = network()
    guard = Guard(model)
    with torch.no_grad():
        for tensor in (model[0].weight, model[1].steps, model[1].norm.running_var):
            tensor.fill_(5)
    guard.refresh(model[1])
    with guard.watch() as effects:
        pass
    where = [(effect.kind, effect.where) for effect in effects]
    assert where == [("parameter", "0.weight"), ("buffer", "1.norm.running_var")]
    assert (model[1].steps == 5).all()


def test_what_was_learned_is_put_back_without_a_word():
    model = network()
    guard = Guard(model)
    guard.learn([SideEffect("attribute", "1.scale", "changed")])
    with guard.watch() as effects:
        model[1].scale = 3.0
        model[1].note = 1
    assert [(effect.kind, effect.where) for effect in effects] == [("attribute", "1.note")]
    assert model[1].scale == 2.0
    guard.learn([SideEffect("attribute", "1.note", "added")])
    with guard.watch() as effects:
        model[1].scale = 3.0
        model[1].note = 1
    assert effects == []


# ------------------------------------------------------------------------- restless models


class Restless(nn.Module):
    """Counts its calls, in place and by a new buffer, and keeps what it last saw."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("images", torch.zeros(()))
        self.last = None

    def forward(self, inputs):
        self.calls += 1
        self.images = self.images + len(inputs)
        self.last = self.linear(inputs)
        self.seen = inputs.shape
        return self.last.tanh()


class SwitchesModes(Restless):
    """Keeps its dropout at work, as Monte Carlo dropout does; of no effect here."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.0)

    def forward(self, inputs):
        self.drop.train()
        return self.drop(super().forward(inputs))


class Averages(nn.Module):
    """Keeps a running mean of its outputs, gradient and all."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("average", torch.zeros(2))

    def forward(self, inputs):
        outputs = self.linear(inputs)
        self.average.mul_(0.9).add_(0.1 * outputs.mean(0))
        return outputs


def gradient(model, inputs, targets):
    inputs.requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def forward_only(model, inputs, targets):
    with torch.no_grad():
        return inputs * model(inputs).gather(1, targets[:, None])


def effects_on(bench, explainer):
    call = bench.call(named(explainer), bench.inputs, bench.targets, baseline=bench.baseline)
    return [(effect.kind, effect.where) for effect in call.effects]


@pytest.mark.parametrize("explainer", [gradient, forward_only])
@pytest.mark.parametrize("kind", [Restless, SwitchesModes, Averages])
def test_a_restless_model_is_not_the_explainer_s_fault(kind, explainer):
    bench = Bench(Subject(kind(), torch.randn(5, 3)))
    bench.logits()
    bench.gradients(bench.inputs, bench.targets)
    assert effects_on(bench, explainer) == []
    assert effects_on(bench, explainer) == []


def test_a_guest_of_a_restless_model_is_still_seen():
    bench = Bench(Subject(Restless(), torch.randn(5, 3)))

    def guest(model, inputs, targets):
        model.linear.bias.data.zero_()
        model.drop = 1
        return gradient(model, inputs, targets)

    assert effects_on(bench, guest) == [
        ("attribute", "Restless.drop"),
        ("parameter", "linear.bias"),
    ]


# ------------------------------------------------------------------------------------- on a bench


def bench_of(model=None):
    return Bench(Subject(network() if model is None else model, torch.randn(5, 3)))


@pytest.mark.parametrize("raises", [False, True])
def test_the_next_guest_sees_a_clean_model(raises):
    bench = bench_of()
    before = state(bench.subject.model)
    clean = bench.explain(named(gradient), bench.inputs)

    def wrecks(model, inputs, targets):
        model.train()
        model(inputs)
        model[0].weight.data.zero_()
        model[1].register_forward_hook(lambda *_: None)
        model[2].requires_grad_(False)
        torch.set_grad_enabled(False)
        torch.manual_seed(0)
        if raises:
            raise ValueError("boo")
        return inputs

    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    if raises:
        with pytest.raises(GuestError, match="boo"):
            bench.explain(named(wrecks), bench.inputs)
    else:
        bench.explain(named(wrecks), bench.inputs)
    assert state(bench.subject.model) == before
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(bench.explain(named(gradient), bench.inputs), clean)


def test_two_benches_of_one_model_do_not_blame_their_guests():
    model = network()
    first = bench_of(model)
    second = bench_of(model)
    before = first.counter.spent.forward, second.counter.spent.forward
    assert effects_on(first, gradient) == []
    assert effects_on(second, gradient) == []
    # Who made the call cannot be told: each of the two counts both.
    spent = first.counter.spent.forward, second.counter.spent.forward
    assert spent == (before[0] + 10, before[1] + 10)
    first.close()
    assert effects_on(second, gradient) == []
    second.close()
    assert not model._forward_hooks


@pytest.mark.parametrize("used", [False, True])
def test_the_user_s_model_comes_back_as_it_was(used):
    model = network()
    model[1].train()
    model[1].drop.eval()
    before = state(model)
    bench = Bench(Subject(model, torch.randn(5, 3)))
    assert not any(module.training for module in model.modules())
    if used:
        bench.logits()
        bench.maps(named(gradient))
        bench.explain(
            named(lambda model, inputs, _: model.train()(inputs) @ torch.ones(2, 3)), bench.inputs
        )
        bench.double().logits()
    bench.close()
    assert state(model) == before


def test_a_restless_model_comes_back_as_it_was_when_the_bench_was_made():
    model = Restless().eval()
    subject = Subject(model, torch.randn(5, 3), targets=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    bench = Bench(subject)
    bench.logits()
    bench.gradients(bench.inputs, bench.targets)
    bench.close()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    copy.deepcopy(model)
