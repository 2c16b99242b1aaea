from collections import Counter

import numpy as np
import pytest
import torch
from sklearn import datasets
from torch import nn

from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.subjects import DigitsNet, load_digits, load_digits_images, load_digits_model


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_accuracy_is_over_97_percent_and_what_the_record_says(record, split):
    images, labels = load_digits_images(split)
    with torch.no_grad():
        predicted = load_digits_model()(images).argmax(1)
    accuracy = (predicted == labels).double().mean().item()
    assert accuracy > 0.97
    assert accuracy == pytest.approx(record["accuracy"][split], abs=1e-6)


def test_model_is_ready_for_use(record):
    model = load_digits_model()
    assert isinstance(model, DigitsNet)
    assert not any(module.training for module in model.modules())
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    assert sum(weight.numel() for weight in model.parameters()) == record["parameters"] == 13706


def test_each_step_is_a_module_of_a_readable_name_and_used_once():
    model = load_digits_model()
    names = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten", "fc1", "relu3", "fc2"]
    assert [name for name, _ in model.named_children()] == names
    used = []
    for name, module in model.named_children():
        module.register_forward_hook(lambda *_, name=name: used.append(name))
    model(torch.zeros(1, 1, 8, 8))
    assert used == names


def test_layers_have_biases_and_neither_normalisation_nor_dropout():
    kinds = {type(module) for module in load_digits_model().children()}
    assert kinds == {nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear}
    layers = [m for m in load_digits_model().children() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert all(layer.bias is not None and layer.bias.abs().min() > 0 for layer in layers)


def test_loading_twice_gives_the_same_weights_in_separate_memory():
    first, second = load_digits_model(), load_digits_model()
    with torch.no_grad():
        for weight in first.parameters():
            weight.add_(1)
    third = load_digits_model()
    for name, weight in second.state_dict().items():
        assert torch.equal(weight, third.state_dict()[name])
        assert not torch.equal(weight, first.state_dict()[name])


def test_loading_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    load_digits(4)
    assert torch.equal(before, torch.get_rng_state())


def test_loading_does_not_depend_on_the_default_dtype():
    expected = load_digits(4)
    torch.set_default_dtype(torch.float64)
    try:
        subject = load_digits(4)
    finally:
        torch.set_default_dtype(torch.float32)
    assert next(subject.model.parameters()).dtype == torch.float32
    assert torch.equal(subject.inputs, expected.inputs)
    assert torch.equal(subject.baseline, expected.baseline)


def test_images_and_labels_are_those_of_scikit_learn():
    def rows(images, labels):
        return Counter(
            (tuple(image), label)
            for image, label in zip(images.tolist(), labels.tolist(), strict=True)
        )

    digits = datasets.load_digits()
    parts = [load_digits_images(split) for split in ("train", "held_out")]
    images = torch.cat([part[0] for part in parts]).flatten(1) * 16
    labels = torch.cat([part[1] for part in parts])
    assert rows(images, labels) == rows(digits.data, digits.target)


@pytest.mark.parametrize("split, count", [("train", 1437), ("held_out", 360)])
def test_images_are_scaled_and_typed(split, count):
    images, labels = load_digits_images(split)
    assert images.shape == (count, 1, 8, 8)
    assert images.dtype == torch.float32
    assert images.min() == 0
    assert images.max() == 1
    assert labels.shape == (count,)
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == list(range(10))


def test_each_digit_is_held_out_in_the_same_proportion():
    counts = np.bincount(datasets.load_digits().target)
    held_out = np.bincount(load_digits_images("held_out")[1].numpy())
    assert np.abs(held_out - counts * 360 / 1797).max() < 1


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_order_is_shuffled(split):
    labels = load_digits_images(split)[1]
    # Shuffled, one neighbour in ten has the same label; sorted, nearly all have.
    assert (labels[1:] == labels[:-1]).double().mean() < 0.2


def test_unknown_split_is_refused():
    with pytest.raises(UnknownName, match=r"unknown split 'test'. Known: train, held_out"):
        load_digits_images("test")


def test_subject_explains_the_true_labels():
    subject = load_digits()
    images, labels = load_digits_images("held_out")
    assert subject.name == "digits"
    assert len(subject) == 360
    assert subject.classes == 10
    assert subject.bounds == (0, 1)
    assert torch.equal(subject.inputs, images)
    assert torch.equal(subject.targets, labels)


def test_baseline_is_the_mean_training_image():
    baseline = load_digits(1).baseline
    mean = load_digits_images("train")[0].numpy().astype(np.float64).mean(0, keepdims=True)
    assert baseline.shape == (1, 1, 8, 8)
    np.testing.assert_array_equal(baseline.numpy(), mean.astype(np.float32))


@pytest.mark.parametrize("images", [1, 7, 360])
def test_first_images_are_taken(images):
    subject = load_digits(images)
    assert torch.equal(subject.inputs, load_digits_images("held_out")[0][:images])
    assert len(subject.targets) == images


@pytest.mark.parametrize("images", [0, -1, 361, 2.0, True, "3"])
def test_wrong_number_of_images_is_refused(images):
    with pytest.raises(InvalidArgument, match=r"images: got .*, expected an integer from 1 to 360"):
        load_digits(images)


def test_permuted_labels_were_learned_by_heart(record):
    """High accuracy on labels that say nothing, that of chance on the true ones."""
    model = load_digits(1).permuted()
    assert record["accuracy_permuted"]["permuted_train"] > 0.95
    images, labels = load_digits_images("held_out")
    with torch.no_grad():
        accuracy = (model(images).argmax(1) == labels).double().mean().item()
    assert accuracy == pytest.approx(record["accuracy_permuted"]["held_out"], abs=1e-6)
    assert accuracy < 0.15
