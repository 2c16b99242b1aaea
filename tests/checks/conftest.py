"""The subjects that checks are tested on, and how one check is run on one explainer."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import module as every_module

import pytest_xai as xai
from fixtures import models
from fixtures.right import gradient
from fixtures.wrong.subjects import subject_of
from pytest_xai import checks
from pytest_xai.checks.contract import device_consistent
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits
from pytest_xai.subjects.probes import probes

OTHER_DEVICE = device_consistent._other_device


def drawn(*shape, seed=0, low=0.0, high=1.0):
    """Uniform numbers, float64."""
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def balanced(model, inputs):
    """The model with the bias of its last layer such that it predicts every class at times."""
    *_, head = (module for module in model.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        head.bias -= model(inputs).mean(0)
    return model


@pytest.fixture(autouse=True, scope="module")
def cpu_for_gpu():
    """The CPU stands in for the other device, for the fixtures of a module as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_consistent, "_other_device", lambda _: torch.device("cpu"))
        yield


@pytest.fixture(autouse=True)
def gpu_itself(request, monkeypatch):
    """Tests that have a GPU use it."""
    if request.node.get_closest_marker("gpu") is not None:
        monkeypatch.setattr(device_consistent, "_other_device", OTHER_DEVICE)


def with_gradient(subject):
    """The subject with the right map of one method, so that ground_truth has something to say."""
    subject.truths = {"gradient": gradient(subject.model, subject.inputs, subject.targets)}
    return subject


@pytest.fixture(scope="session")
def probe_linear():
    return probes()["linear"]()


@pytest.fixture(scope="session")
def probe_hidden():
    return probes()["hidden"]()


@pytest.fixture(scope="session")
def probe_product():
    return probes()["product"]()


@pytest.fixture(scope="session")
def probe_game():
    return probes()["game"]()


@pytest.fixture(scope="session")
def probe_rules():
    return probes()["lrp-layers"]()


@pytest.fixture(scope="session")
def probe_gap():
    return probes()["gap-linear"]()


@pytest.fixture(scope="session")
def digits():
    return with_gradient(load_digits(128))


@pytest.fixture(scope="session")
def digits_double():
    return with_gradient(load_digits(32).double())


@pytest.fixture(scope="session")
def normed():
    """Images of two channels, a model with batch norms, ReLUs in place and dropout."""
    targets = torch.arange(64) % 3
    inputs = drawn(64, 2, 6, 5).float()
    model = models.normed().float()
    return xai.Subject(model, inputs, targets, baseline=0.5, bounds=(0, 1), name="normed")


@pytest.fixture(scope="session")
def table():
    inputs = drawn(64, 20, low=-1)
    model = balanced(models.chain(20, 16, 8, 3), inputs)
    return xai.Subject(model, inputs, baseline=drawn(1, 20), name="table")


@pytest.fixture(scope="session")
def signal():
    inputs = drawn(64, 2, 12, low=-1)
    model = balanced(models.signal_net(), inputs)
    return xai.Subject(model, inputs, baseline=drawn(64, 2, 12), name="signal")


@pytest.fixture(scope="session")
def one_logit():
    return xai.Subject(models.chain(20, 16, 1), drawn(64, 20, low=-1), name="one logit")


@pytest.fixture(scope="session")
def scalar():
    model = nn.Sequential(*models.chain(20, 16, 1), nn.Flatten(0)).eval()
    return xai.Subject(model, drawn(64, 20, low=-1), name="scalar")


@pytest.fixture(scope="session")
def borderline():
    """A linear model of 400 features whose margin is 3 for every input.

    The fast gradient sign attack changes a margin by 2 * 8/255 * |w|_1 = 2.5, noise of that size
    by about 2 * 8/255 * |w|_2 = 0.13.
    """
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(200)
    weight = 0.1 * signs[torch.randperm(400, generator=torch.Generator().manual_seed(0))]
    inputs = drawn(64, 400, low=0.2, high=0.8)
    margins = torch.tensor([1.5, -1.5]).double().repeat(32)
    inputs += ((margins - inputs @ weight) / weight.square().sum())[:, None] * weight
    model = models.linear(torch.stack([weight, -weight]))
    return with_gradient(xai.Subject(model, inputs, bounds=(0, 1), name="borderline"))


@pytest.fixture(scope="session")
def grey():
    """Images of 10 x 10 and a linear model whose margin is 1 for every one of them."""
    return subject_of("grey", 64)


@pytest.fixture
def task_of():
    """Makes a task of a check's name and an explainer, at a level that few images can reach."""

    def make(check, explainer, *, alpha=0.05, **options):
        found = checks.get(check)
        return Task(check=found, explainer=explainer, asserted=True, alpha=alpha, **options)

    return make


@pytest.fixture
def verdict(task_of):
    """Run one check on one explainer and subject, on a bench of its own."""

    def run(check, explainer, subject, *, alpha=0.05, seed=0):
        bench = xai.Bench(subject, seed=seed)
        try:
            return run_check(bench, task_of(check, named(explainer), alpha=alpha))
        finally:
            bench.close()

    return run


@pytest.fixture
def finding():
    """What one check finds on the first 32 images, in the order of the subject's images."""

    def find(check, explainer, subject, *, seed=0):
        bench = xai.Bench(subject, seed=seed)
        bench = bench.view(0, 32)
        try:
            return checks.get(check).function(bench, named(explainer)), bench
        finally:
            bench.close()

    return find


class Recorder:
    """Explains as another explainer does, and keeps what it was given and what it answered."""

    def __init__(self, explainer):
        self.explainer = explainer
        self.models, self.inputs, self.targets, self.baselines, self.maps = [], [], [], [], []

    def __call__(self, model, inputs, targets, **options):
        self.models.append(model)
        self.inputs.append(inputs.clone())
        self.targets.append(targets.clone())
        self.baselines.append(options.get("baseline"))
        self.maps.append(self.explainer(model, inputs, targets, **options))
        return self.maps[-1]


@pytest.fixture
def recorder():
    """Wrap an explainer to see what a check asks of it."""

    def wrap(explainer, **traits):
        return xai.explainer(**traits)(Recorder(explainer))

    return wrap


@pytest.fixture
def photograph():
    """Everything that user code could change, compared by value: model, globals, seeds."""
    return take_photograph


def take_photograph(model, *, seeds=True):
    parts = {
        "values": {name: value.clone() for name, value in model.state_dict().items()},
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grads": [parameter.grad for parameter in model.parameters()],
        "tensor hooks": [dict(p._backward_hooks or {}) for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "modules": [(name, id(module)) for name, module in model.named_modules()],
        "hooks": [
            (name, table, list(hooks))
            for name, module in model.named_modules()
            for table, hooks in vars(module).items()
            if "hooks" in table and hooks
        ],
        "attributes": [
            (name, key, value if isinstance(value, (int, float, str, bool, tuple)) else id(value))
            for name, module in model.named_modules()
            for key, value in vars(module).items()
            if "hooks" not in key
        ],
        "global hooks": {
            name: list(value)
            for name, value in vars(every_module).items()
            if name.startswith("_global") and "hooks" in name and isinstance(value, dict)
        },
        "settings": (
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.is_anomaly_enabled(),
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        ),
    }
    if seeds:
        numpy_state = np.random.get_state()
        parts["seeds"] = (
            torch.get_rng_state(),
            [part.tolist() if isinstance(part, np.ndarray) else part for part in numpy_state],
            random.getstate(),
        )
    return copy.copy(parts)


def differences(before, after):
    """Names of the parts of two photographs that differ, bitwise for tensors."""
    return [name for name in before if not equal_parts(before[name], after[name])]


def equal_parts(a, b):
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal_parts(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(equal_parts, a, b))
    return bool(a == b)


@pytest.fixture
def changed():
    """Names of the parts of two photographs that differ."""
    return differences
