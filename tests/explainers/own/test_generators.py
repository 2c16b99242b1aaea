"""Similar and adversarial images: the bundled generators, their training, and the map of a pair."""

import hashlib
import json
import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from fixtures.making import compare, write_files
from pytest_xai import check_explainer
from pytest_xai.errors import BrokenData, InvalidArgument, NotApplicable
from pytest_xai.explainers.own import generator_training
from pytest_xai.explainers.own.generator_network import GeneratorPair, pair_of, state_of
from pytest_xai.explainers.own.generator_training import (
    Weights,
    generator_losses,
    success,
    train_generators,
)
from pytest_xai.explainers.own.generators import ENTRIES, bundled_pair
from pytest_xai.protocol import NamedExplainer
from pytest_xai.subjects import bundled, load_digits, load_digits_images, load_digits_model

SPEC = "xai:AdversarialGenerators"
ENTRY = ENTRIES[SPEC]
FOLDER = Path(__file__).parents[3] / "fixtures" / "generators"
FILE = "digits.safetensors"


@pytest.fixture
def record():
    return json.loads((FOLDER / "generators.json").read_text(encoding="utf-8"))


class Patch(nn.Module):
    """Three classes by the mean over a patch of 3 x 3 places; class 2 is never found."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0, dtype=torch.float64))

    def forward(self, images):
        mean = images[:, :, 2:5, 1:4].mean((1, 2, 3)) - 0.5
        return self.scale * torch.stack([-mean, mean, -0.5 + 0 * mean], 1)


def images_of(count, seed=0, shape=(1, 8, 6)):
    """Noise of two brightnesses in the patch."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(count, *shape, generator=random, dtype=torch.float64) * 0.5 + 0.25
    bright = torch.rand(count, 1, 1, 1, generator=random, dtype=torch.float64) > 0.5
    images[:, :, 2:5, 1:4] += torch.where(bright, 0.25, -0.25)
    return images


def new_pair(shape=(1, 8, 6), bounds=(0.0, 1.0), seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GeneratorPair(shape, bounds).double()


def test_bundled_generators_do_what_they_are_for(record):
    """On digits that they were not trained on; the record states the same shares."""
    images, _ = load_digits_images("held_out")
    reached = success(load_digits_model(), bundled_pair(), images)
    assert reached["kept"] > 0.95
    assert reached["overturned"] > 0.9
    assert reached["distance"] < 0.1
    assert reached == pytest.approx(record["held_out"], abs=1e-4)


def test_bundled_files_are_small_and_those_of_the_record(record):
    content = (FOLDER / FILE).read_bytes()
    assert len(content) < 300_000
    assert record["sha256"] == {FILE: hashlib.sha256(content).hexdigest()}
    assert record["parameters"] == sum(each.numel() for each in bundled_pair().parameters())


def test_map_is_the_difference_of_the_two_images():
    subject = load_digits(5).double()
    maps = ENTRY.factory()(subject.model, subject.inputs, subject.targets)
    similar, adversarial = bundled_pair().double()(subject.inputs)
    assert torch.equal(maps, (similar - adversarial).abs())
    assert maps.dtype == torch.float64
    assert maps.shape == subject.inputs.shape
    alone = ENTRY.factory()(subject.model, subject.inputs[2:3], subject.targets[2:3])
    assert torch.allclose(maps[2:3], alone, atol=1e-14)


def test_neither_target_nor_model_changes_the_map():
    """Declared: the model was asked in training."""
    subject = load_digits(4)
    maps = ENTRY.factory()(subject.model, subject.inputs, subject.targets)
    others = ENTRY.factory()(nn.Identity(), subject.inputs, (subject.targets + 1) % 10)
    assert torch.equal(maps, others)
    assert ENTRY.class_agnostic
    assert ENTRY.cost == "none"
    assert ENTRY.claims == ()


def test_explaining_draws_and_leaves_nothing(monkeypatch):
    monkeypatch.setattr("pytest_xai.explainers.own.generators.images_per_pass", lambda _: 2)
    subject = load_digits(5)
    before, random = subject.inputs.clone(), torch.get_rng_state()
    explain = ENTRY.factory()
    maps = explain(subject.model, subject.inputs.requires_grad_(), subject.targets)
    assert not maps.requires_grad
    assert torch.equal(random, torch.get_rng_state())
    assert torch.equal(subject.inputs.detach(), before)
    torch.set_default_dtype(torch.float64)
    try:
        again = explain(subject.model, subject.inputs, subject.targets)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(maps, again)


@pytest.mark.parametrize("shape", [(1, 8, 9), (3, 8, 8), (1, 28, 28)])
def test_other_shapes_are_not_applicable(shape):
    with pytest.raises(NotApplicable, match=r"trained on images of shape \(1, 8, 8\), got \("):
        ENTRY.factory()(nn.Identity(), torch.rand(2, *shape), torch.tensor([0, 1]))


def test_missing_bundled_weights_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(bundled, "_PLACES", (tmp_path,))
    explain = ENTRY.factory()
    with pytest.raises(BrokenData, match="bundled generators are missing"):
        explain(nn.Identity(), torch.rand(1, 1, 8, 8), torch.tensor([0]))


@pytest.fixture(scope="module")
def trained():
    """Generators for the patch, trained briefly."""
    return train_generators(Patch().float(), images_of(64).float(), epochs=60, seed=1)


def test_trained_generators_keep_and_overturn_by_the_patch(trained, tmp_path):
    path = tmp_path / "patch.safetensors"
    safetensors.torch.save_file(trained, path)
    images, targets = images_of(32, seed=9), torch.zeros(32, dtype=torch.long)
    reached = success(Patch(), pair_of(trained).double(), images)
    assert reached["kept"] > 0.95
    assert reached["overturned"] > 0.95
    maps = ENTRY.factory(weights=str(path))(Patch(), images, targets)
    inside = torch.zeros(8, 6, dtype=torch.bool)
    inside[2:5, 1:4] = True
    assert maps[:, 0, inside].mean() > 4 * maps[:, 0, ~inside].mean()
    drawn = pair_of(trained).double()(images)
    assert torch.equal(maps, (drawn[0] - drawn[1]).abs())


def test_training_repeats_and_leaves_all_as_it_was(trained):
    model = Patch().train()
    random = torch.get_rng_state()
    images = images_of(80)
    before = images.clone()
    with torch.no_grad():
        again = train_generators(model, images, epochs=2, seed=1)
    assert torch.equal(random, torch.get_rng_state())
    assert torch.equal(images, before)
    assert model.training
    assert model.scale.grad is None
    assert model.scale.item() == 20
    once_more = train_generators(model, images, epochs=2, seed=1)
    other = train_generators(model, images, epochs=2, seed=2)
    assert all(torch.equal(again[name], value) for name, value in once_more.items())
    assert not torch.equal(again["similar.draw.weight"], other["similar.draw.weight"])
    assert again.keys() == trained.keys()
    assert all(v.dtype == torch.float32 for name, v in again.items() if "." in name)


def plain_terms(model, pair, images):
    """The terms of the loss, image by image and pixel by pixel."""
    span = pair.bounds[1] - pair.bounds[0]
    names = ["keep", "change", "near", "alike", "smooth"]
    terms = dict.fromkeys(names, 0.0)
    with torch.no_grad():
        similar, adversarial = pair(images)
    for image, one, other in zip(images, similar, adversarial, strict=True):
        found, kept, turned = (model(each[None])[0].tolist() for each in (image, one, other))
        share = [math.exp(value) for value in found]
        share = [value / sum(share) for value in share]
        log_sum = math.log(sum(math.exp(value) for value in kept))
        terms["keep"] -= sum(p * (z - log_sum) for p, z in zip(share, kept, strict=True))
        place = found.index(max(found))
        rest = max(value for index, value in enumerate(turned) if index != place)
        terms["change"] += max(0.0, turned[place] - rest + 1)
        apart = ((one - other) / span).tolist()
        pixels = image.numel()
        terms["near"] += float((image - one).abs().sum() + (image - other).abs().sum())
        terms["alike"] += float((one - other).abs().sum())
        for channel in apart:
            height, width = len(channel), len(channel[0])
            steps = [
                abs(channel[r][c] - channel[r - 1][c])
                for r in range(1, height)
                for c in range(width)
            ]
            terms["smooth"] += sum(steps) / (len(steps) * len(apart))
            steps = [abs(row[c] - row[c - 1]) for row in channel for c in range(1, width)]
            terms["smooth"] += sum(steps) / (len(steps) * len(apart))
    for name in ("near", "alike"):
        terms[name] /= pixels * span
    return {name: value / len(images) for name, value in terms.items()}


@pytest.mark.parametrize("shape, bounds", [((1, 8, 6), (0.0, 1.0)), ((2, 5, 7), (-1.0, 2.0))])
def test_losses_in_loops(shape, bounds):
    pair, images = new_pair(shape, bounds), images_of(5, seed=3, shape=shape)
    with torch.no_grad():
        for weight in pair.parameters():
            weight.mul_(3)
    found = {name: value.item() for name, value in generator_losses(Patch(), pair, images).items()}
    assert found == pytest.approx(plain_terms(Patch(), pair, images), rel=1e-9)
    assert set(found) == set(Weights.__slots__)


def test_drawn_images_keep_shape_and_bounds():
    pair = new_pair((2, 7, 5), (-3.0, 2.0))
    similar, adversarial = pair(1000 * torch.randn(4, 2, 7, 5, dtype=torch.float64))
    for drawn in (similar, adversarial):
        assert drawn.shape == (4, 2, 7, 5)
        assert drawn.min() >= -3
        assert drawn.max() <= 2
        assert drawn.max() - drawn.min() > 0.1
    assert not torch.equal(similar, adversarial)


def test_state_goes_there_and_back_through_a_file(tmp_path):
    pair = new_pair((2, 7, 5), (-3.0, 2.0)).float()
    safetensors.torch.save_file(state_of(pair), tmp_path / "pair.safetensors")
    random = torch.get_rng_state()
    again = pair_of(safetensors.torch.load_file(tmp_path / "pair.safetensors"))
    assert torch.equal(random, torch.get_rng_state())
    assert again.shape == (2, 7, 5)
    assert again.bounds == (-3.0, 2.0)
    images = torch.randn(3, 2, 7, 5)
    assert all(torch.equal(a, b) for a, b in zip(pair(images), again(images), strict=True))


def test_shifts_move_all_images_and_let_in_the_lowest_value():
    images = images_of(3, shape=(1, 16, 8)) + 1
    random = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(200):
        moved = generator_training._shifted(images, (0.5, 3.0), random)
        assert moved.shape == images.shape
        for down in range(-2, 3):
            for right in range(-1, 2):
                expected = torch.full_like(images, 0.5)
                rows, columns = slice(max(0, down), 16 + down), slice(max(0, right), 8 + right)
                from_rows, from_columns = (
                    slice(max(0, -down), 16 - down),
                    slice(max(0, -right), 8 - right),
                )
                expected[:, :, rows, columns] = images[:, :, from_rows, from_columns]
                if torch.equal(moved, expected):
                    seen.add((down, right))
    assert len(seen) == 15


@pytest.mark.parametrize(
    "content, error",
    [
        (None, "FileNotFoundError"),
        (b"no tensors", "SafetensorError"),
        ({"a": torch.ones(1)}, "KeyError"),
        ({"shape": torch.tensor([1, 8]), "bounds": torch.tensor([0.0, 1])}, "ValueError"),
        ({"shape": torch.tensor([1, 8, 8]), "bounds": torch.tensor([0.0, 1])}, "RuntimeError"),
    ],
)
def test_a_file_without_generators_is_refused(content, error, tmp_path):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else safetensors.torch.save(content))
    with pytest.raises(InvalidArgument) as caught:
        ENTRY.factory(weights=str(path))
    text = str(caught.value)
    assert text.startswith(f"weights: got '{path}' ({error}")
    assert "expected a safetensors file with the result of train_generators" in text


def test_weights_is_a_path():
    with pytest.raises(InvalidArgument, match="weights: got 3, expected a non-empty string"):
        ENTRY.factory(weights=3)


@pytest.mark.parametrize(
    "images, options, message",
    [
        (torch.rand(4, 8), {}, r"images: got torch.float32 of shape \(4, 8\)"),
        (torch.rand(4, 1, 3, 8), {}, "expected a floating-point batch .* both sides at least 4"),
        (torch.ones(4, 1, 8, 8, dtype=torch.long), {}, "images: got torch.int64"),
        (torch.rand(4, 1, 8, 8) + 1, {}, "expected values within the bounds"),
        (torch.rand(4, 1, 8, 8) - 1, {}, "expected values within the bounds"),
        (torch.rand(4, 1, 8, 8), {"bounds": (1.0, 1.0)}, "bounds: got .*expected .low, high."),
        (torch.rand(4, 1, 8, 8), {"epochs": 0}, "epochs: got 0, expected an integer >= 1"),
    ],
)
def test_training_refuses(images, options, message):
    with pytest.raises(InvalidArgument, match=message):
        train_generators(nn.Flatten(), images, **options)


def test_training_refuses_a_single_output():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    with pytest.raises(InvalidArgument, match=r"model: got outputs of shape \(4, 1\)"):
        train_generators(model, torch.rand(4, 1, 8, 8), epochs=1)


@pytest.fixture(scope="module")
def maker():
    """The script as a module."""
    from fixtures.generators import make_generators

    return make_generators


def test_script_writes_and_compares(maker, monkeypatch, tmp_path, record):
    monkeypatch.setattr(maker, "train_generators", lambda *_, **__: state_of(bundled_pair()))
    files = maker.make_files()
    made = json.loads(files["generators.json"])
    assert made.keys() == record.keys()
    assert made["held_out"] == pytest.approx(record["held_out"], abs=1e-3)
    assert files[FILE] == (FOLDER / FILE).read_bytes()
    write_files(files, tmp_path)
    assert compare(files, tmp_path) == []
    torch_of = json.dumps({**made, "trained_with": {"torch": "another"}})
    (tmp_path / "generators.json").write_text(torch_of)
    assert compare(files, tmp_path) == []
    (tmp_path / "generators.json").write_text(json.dumps({**made, "seed": 5}))
    (tmp_path / FILE).write_bytes(files[FILE][:-1] + b"?")
    assert [line.split(": {")[0].rpartition("/")[2] for line in compare(files, tmp_path)] == [
        f"{FILE} differs in its bytes from the one made now",
        "generators.json differs",
    ]
    (tmp_path / FILE).unlink()
    assert compare(files, tmp_path)[0] == f"{tmp_path / FILE} is missing"


@pytest.mark.slow
def test_script_makes_the_bundled_bytes_again(maker):
    """Promised for one machine; another one may add up in another order."""
    assert compare(maker.make_files(), FOLDER) == []


def test_gate_on_digits():
    traits = ENTRY.traits({}, library="own")
    named = NamedExplainer(name=SPEC, call=ENTRY.factory(), traits=traits)
    names = ["side_effects", "batch_independent", "deterministic", "shape", "target_sensitive"]
    report = check_explainer(named, load_digits(16), checks=names, on_fail="ignore")
    outcomes = {verdict.check: verdict.outcome for verdict in report}
    assert outcomes == {**dict.fromkeys(names, "passed"), "target_sensitive": "not_applicable"}


def test_the_map_does_not_follow_the_weights():
    """The reason of an expected failure: the generators were trained once, for one model."""
    named = NamedExplainer(name=SPEC, call=ENTRY.factory(), traits=ENTRY.traits({}, library="own"))
    (verdict,) = check_explainer(named, load_digits(), checks=["mprt_cascading"], on_fail="ignore")
    assert verdict.outcome == "failed"
    assert verdict.figure == 1.0
