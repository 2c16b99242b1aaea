import pytest
import torch
from torch import nn

from pytest_xai.core.subject import SingleOutput
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting.target_layer import executed_maps, target_layer


class Shuffled(nn.Module):
    """Convolutions whose order of definition is not that of execution; one is never executed."""

    def __init__(self):
        super().__init__()
        self.late = nn.Conv2d(3, 4, 3)
        self.early = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
        self.unused = nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(self.late(self.early(inputs)).sin().mean((2, 3)))


class Returning(nn.Module):
    """Its second convolution runs once, between two runs of its first."""

    def __init__(self):
        super().__init__()
        self.outer = nn.Conv2d(2, 2, 3)
        self.inner = nn.Conv2d(2, 2, 3)

    def forward(self, inputs):
        return self.outer(self.inner(self.outer(inputs))).mean((2, 3))


IMAGES = torch.rand(3, 1, 9, 8)


def test_last_executed_convolution_not_the_last_defined():
    model = Shuffled()
    assert target_layer(model, IMAGES, None) is model.late


def test_layer_by_its_dotted_name():
    model = Shuffled()
    assert target_layer(model, IMAGES, "early.0") is model.early[0]
    assert target_layer(model, IMAGES, "early") is model.early


def test_maps_are_listed_in_the_order_in_which_they_end():
    model = Shuffled()
    found = executed_maps(model, IMAGES)
    assert list(found) == ["early.0", "early.1", "early", "late"]
    assert all(model.get_submodule(name) is module for name, module in found.items())


def test_a_convolution_that_runs_twice_counts_where_it_runs_last():
    model = Returning()
    inputs = torch.rand(1, 2, 12, 12)
    assert list(executed_maps(model, inputs)) == ["inner", "outer"]
    assert target_layer(model, inputs, None) is model.outer


@pytest.mark.parametrize(
    "convolution, shape",
    [(nn.Conv1d, (2, 7)), (nn.Conv2d, (2, 7, 5)), (nn.Conv3d, (2, 7, 5, 6))],
)
def test_signals_images_and_volumes(convolution, shape):
    model = nn.Sequential(convolution(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    inputs = torch.rand(2, *shape)
    model(inputs)
    assert target_layer(model, inputs, None) is model[0]


@pytest.mark.parametrize("layer", ["missing", "unused", "head", "", "early.2"])
def test_layers_that_give_no_map_are_refused_with_those_that_do(layer):
    with pytest.raises(InvalidArgument) as caught:
        target_layer(Shuffled(), IMAGES, layer)
    assert str(caught.value) == (
        f"layer: got '{layer}', expected a layer that the model executes and whose output has the "
        "inputs' number of dimensions: early.0, early.1, early, late"
    )


def test_a_model_without_convolutions_is_not_applicable_and_lists_its_maps():
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    with pytest.raises(NotApplicable) as caught:
        target_layer(model, IMAGES, None)
    assert str(caught.value).startswith("the model executes no convolution")
    assert str(caught.value).endswith("with the option layer: 0")
    assert target_layer(model, IMAGES, "0") is model[0]


def test_a_convolution_whose_output_is_no_map_does_not_count():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Conv1d(1, 2, 3)

        def forward(self, inputs):
            return self.mix(inputs.flatten(2)).mean(2)

    with pytest.raises(NotApplicable, match="this model has none that gives a map"):
        target_layer(Flat(), IMAGES, None)
    with pytest.raises(InvalidArgument, match="this model has none"):
        target_layer(Flat(), IMAGES, "mix")


def test_layers_of_a_wrapped_model_keep_their_names():
    class Scalar(Shuffled):
        def forward(self, inputs):
            return super().forward(inputs)[:, 1]

    model = Scalar()
    assert target_layer(SingleOutput(model), IMAGES, "late") is model.late


def test_one_pass_of_one_image_and_no_traces():
    model = Shuffled().eval()
    seen = []
    handle = model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    images = IMAGES.clone()
    target_layer(model, images, None)
    handle.remove()
    assert seen == [(1, 1, 9, 8)]
    assert torch.equal(images, IMAGES)
    assert not images.requires_grad
    assert all(not module._forward_hooks for module in model.modules())
    assert torch.is_grad_enabled()


def test_hooks_go_even_if_the_model_raises():
    model = Shuffled()
    with pytest.raises(RuntimeError):
        target_layer(model, torch.rand(1, 2, 9, 8), None)
    assert all(not module._forward_hooks for module in model.modules())
