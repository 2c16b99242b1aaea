"""Stored maps: used where the maps of the subject's inputs are needed, refused elsewhere."""

import functools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pytest_xai import Subject, check_explainer
from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.checks import get
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.errors import InvalidArgument, InvalidAttribution, NotApplicable
from pytest_xai.explainers.stored import ENTRIES, StoredMaps, from_maps, stored_maps
from pytest_xai.plugin.model_repo import ModelRepo
from pytest_xai.protocol import NamedExplainer, archive_of, explainer, named

REASON = "needs new explanations; these maps are stored"
NEEDY = {
    "batch_independent",
    "deterministic",
    "input_untouched",
    "side_effects",
    "target_sensitive",
    "mprt_cascading",
    "continuity",
}
SERVED = {"shape", "finite", "summation_to_delta", "relevance_conservation"}


def subject_of(count=40, dtype=torch.float32, bias=False, baseline=0.25):
    """A linear model, whose maps w (x - x') sum to the difference and w x to the output."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 3, bias=bias)).to(dtype)
    inputs = torch.randn(count, 2, 3, 4, dtype=dtype)
    return Subject(model, inputs, targets=torch.arange(count) % 3, baseline=baseline)


def right(subject, to="delta"):
    weights = subject.model[1].weight[subject.targets].reshape(subject.inputs.shape)
    return (weights * (subject.inputs - (subject.baseline if to == "delta" else 0))).detach()


def outcome(subject, explained, check):
    bench = Bench(subject)
    try:
        return run_check(bench, Task(check=get(check), asserted=True, explainer=explained))
    finally:
        bench.close()


# -- what is served ---------------------------------------------------------------------------


def test_maps_come_in_the_order_of_the_bench():
    subject = subject_of()
    maps = torch.arange(40.0).reshape(40, 1, 1, 1).expand(40, 1, 3, 4)
    bench = Bench(subject)
    assert bench.images != sorted(bench.images)
    served = bench.view(3, 36).maps(from_maps(maps))
    assert served[:, 0, 0, 0].tolist() == bench.images[3:36]
    assert bench.counter.spent.model == 0
    assert bench.counter.spent.explainer_calls == 0


@pytest.mark.parametrize("sums_to, check", [
    ("delta", "summation_to_delta"), ("output", "relevance_conservation"),
])  # fmt: skip
def test_a_gate_on_right_maps(sums_to, check):
    subject = subject_of()
    explained = from_maps(right(subject, sums_to), sums_to=sums_to)
    report = check_explainer(explained, subject, on_fail="ignore")
    rows = {row.check: row for row in report}
    assert {name for name, row in rows.items() if row.outcome == "passed"} == {
        "shape", "finite", check,
    }  # fmt: skip
    others = {name: row for name, row in rows.items() if name not in SERVED}
    assert {row.outcome for row in others.values()} == {"not_applicable"}
    assert set(others) >= NEEDY
    assert {others[name].reason for name in NEEDY} == {REASON}


@pytest.mark.parametrize("check", ["summation_to_delta", "relevance_conservation"])
def test_maps_in_another_order_fail(check):
    subject = subject_of()
    maps = right(subject, "delta" if check == "summation_to_delta" else "output")
    assert outcome(subject, from_maps(maps), check).outcome == "passed"
    assert outcome(subject, from_maps(maps.roll(1, 0)), check).outcome == "failed"


@pytest.mark.parametrize("check", ["summation_to_delta", "relevance_conservation"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_rounding_of_the_file_is_no_failure(check, dtype):
    subject = subject_of(dtype=torch.float64)
    maps = right(subject, "delta" if check == "summation_to_delta" else "output")
    assert outcome(subject, from_maps(maps.to(dtype)), check).outcome == "passed"
    assert outcome(subject, from_maps(maps.to(dtype).double()), check).outcome == "failed"
    assert outcome(subject, from_maps((1.01 * maps).to(dtype)), check).outcome == "failed"


def test_a_failure_in_float32_is_final():
    subject = subject_of()
    verdict = outcome(subject, from_maps(1.01 * right(subject)), "summation_to_delta")
    assert verdict.outcome == "failed"
    assert "could not be decided in float64" in verdict.reason


def test_maps_without_channels_are_served():
    subject = subject_of()
    for maps in (torch.rand(40, 3, 4), torch.rand(40, 1, 3, 4), torch.rand(40, 3, 4).numpy()):
        assert outcome(subject, from_maps(maps), "shape").outcome == "passed"
        assert Bench(subject).maps(from_maps(maps)).shape == (40, 1, 3, 4)


# -- what is refused --------------------------------------------------------------------------


def test_other_inputs_targets_baselines_draws_and_models_are_refused():
    subject = subject_of()
    bench, maps = Bench(subject), from_maps(right(subject))
    assert torch.equal(bench.explain(maps, bench.inputs), right(subject)[bench.images])
    again = bench.explain(maps, bench.inputs.clone(), bench.targets, baseline=bench.baseline)
    assert torch.equal(again, right(subject)[bench.images])
    for refused in (
        lambda: bench.explain(maps, bench.inputs.flip(0)),
        lambda: bench.explain(maps, bench.inputs, bench.targets + 1),
        lambda: bench.explain(maps, bench.inputs, baseline=bench.baseline + 1),
        lambda: bench.explain(maps, bench.inputs, draw=1),
        lambda: bench.explain(maps, bench.inputs, on=Guard(subject.model)),
        lambda: bench.maps(maps, (bench.targets + 1) % 3),
        lambda: bench.double().maps(maps),
        lambda: bench.call(maps, bench.inputs, bench.targets, baseline=bench.baseline),
        lambda: maps.call(subject.model, subject.inputs, subject.targets),
    ):
        with pytest.raises(NotApplicable, match=REASON):
            refused()


@pytest.mark.parametrize("count", [39, 41])
def test_a_wrong_number_of_maps_is_an_error_that_says_so(count):
    verdict = outcome(subject_of(), from_maps(torch.rand(count, 2, 3, 4)), "shape")
    assert verdict.outcome == "error"
    assert f"maps: got {count} maps, expected 40, one for each input" in verdict.reason


def test_a_wrong_shape_fails_and_is_named():
    verdict = outcome(subject_of(), from_maps(torch.rand(40, 2, 4, 3)), "shape")
    assert verdict.outcome == "failed"
    assert "returned shape (1, 2, 4, 3) for inputs of shape (1, 2, 3, 4)" in verdict.reason
    with pytest.raises(InvalidAttribution, match=r"shape \(32, 2, 4, 3\)"):
        Bench(subject_of()).maps(from_maps(torch.rand(40, 2, 4, 3)))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_fail(value):
    maps = torch.rand(40, 2, 3, 4)
    maps[Bench(subject_of()).images[5], 0, 0, 0] = value
    assert outcome(subject_of(), from_maps(maps), "finite").outcome == "failed"
    assert outcome(subject_of(), from_maps(maps), "shape").outcome == "passed"
    with pytest.raises(InvalidAttribution, match="NaN or infinite values for 1 of 32"):
        Bench(subject_of()).maps(from_maps(maps))


@pytest.mark.parametrize(
    "maps, message",
    [
        ([[1.0]], "maps: got list, expected a floating-point tensor or array"),
        (torch.ones(3, 2).long(), "maps: got dtype torch.int64"),
        (np.ones((3, 2), dtype=np.int32), "maps: got dtype int32"),
        (np.ones((3, 2), dtype=object), "maps: got dtype object"),
        (torch.ones(3), r"maps: got shape \(3,\)"),
        (np.ones((0, 3)), r"maps: got shape \(0, 3\)"),
    ],
)
def test_what_are_no_maps(maps, message):
    with pytest.raises(InvalidArgument, match=message):
        from_maps(maps)


def test_later_changes_of_the_tensor_do_not_reach_the_maps():
    subject = subject_of()
    for maps in (right(subject), right(subject).numpy().copy()):
        explained = from_maps(maps)
        maps[:] = 0
        assert Bench(subject).maps(explained).abs().sum() > 0


# -- files ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_of_both_kinds_relative_to_the_current_directory(folder):
    subject = subject_of()
    maps = right(subject)
    np.save("maps.npy", maps.numpy())
    np.save("foreign.npy", maps.numpy().astype(">f4"))
    save_file({"only": maps}, "one.safetensors")
    save_file({"first": maps * 0, "second": maps}, "two.safetensors")
    bench = Bench(subject)
    for made in (
        stored_maps(path="maps.npy"),
        stored_maps(path=str(folder / "foreign.npy")),
        stored_maps(path="one.safetensors"),
        stored_maps(path="two.safetensors", key="second"),
        from_maps(folder / "maps.npy").call,
        from_maps("two.safetensors", key="second").call,
    ):
        assert torch.equal(bench.maps(named(made)), maps[bench.images])


def test_wrong_files_are_refused_when_the_explainer_is_built(folder):
    np.save("maps.npy", np.ones((3, 2)))
    np.save("pickled.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.savez("archive.npz", np.ones((3, 2)))
    (folder / "archive.npz").rename("archive.npy")
    (folder / "empty.npy").write_bytes(b"")
    (folder / "text.npy").write_text("maps")
    (folder / "text.safetensors").write_text("maps")
    (folder / "maps.csv").write_text("1")
    save_file({"a": torch.ones(3, 2), "b": torch.ones(3, 2)}, "two.safetensors")
    save_file({"a": torch.ones(3, 2).long()}, "whole.safetensors")
    for options, message in (
        ({}, "path: got None, expected a .npy or .safetensors file of maps"),
        ({"path": ""}, "path: got '', expected a non-empty string"),
        ({"path": 3}, "path: got 3, expected a non-empty string"),
        ({"path": "none.npy"}, "path: got 'none.npy', expected a file that exists"),
        ({"path": "maps.csv"}, "path: got 'maps.csv', expected a .npy or .safetensors file"),
        ({"path": "pickled.npy"}, "pickled.npy' .*allow_pickle=False.*, expected a .npy file"),
        ({"path": "archive.npy"}, "archive.npy', an archive, expected a .npy file"),
        ({"path": "empty.npy"}, "empty.npy' .*expected a .npy file of numbers"),
        ({"path": "text.npy"}, "text.npy' .*expected a .npy file of numbers"),
        ({"path": "text.safetensors"}, "text.safetensors' .*expected a .safetensors file"),
        ({"path": "maps.npy", "key": "a"}, "key: got 'a', expected None"),
        ({"path": "two.safetensors"}, "key: got None, expected one of a, b"),
        ({"path": "two.safetensors", "key": "c"}, "key: got 'c', expected one of a, b"),
        ({"path": "whole.safetensors"}, "whole.safetensors: got dtype torch.int64"),
        ({"path": "maps.npy", "sums_to": "one"}, "sums_to: got 'one', expected one of delta"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            stored_maps(**options)


def test_options_of_maps_in_memory():
    with pytest.raises(InvalidArgument, match="key: got 'a', expected None"):
        from_maps(torch.ones(3, 2), key="a")
    with pytest.raises(InvalidArgument, match="sums_to: got 'one'"):
        from_maps(torch.ones(3, 2), sums_to="one")


def test_the_gallery_entry():
    entry = ENTRIES["xai:StoredMaps"]
    assert entry.summary.endswith(").")
    assert entry.options == {"path": None, "key": None, "sums_to": None}
    assert entry.traits({}, library="").claims == set()
    assert entry.traits({"sums_to": "delta"}, library="").claims == {"summation_to_delta"}
    assert entry.traits({"sums_to": "output"}, library="").claims == {"relevance_conservation"}
    assert from_maps(torch.ones(3, 2), sums_to="output").traits.claims == {"relevance_conservation"}


# -- under other callables --------------------------------------------------------------------


def test_stored_maps_are_found_under_a_wrapper_that_says_what_it_wraps():
    maps = StoredMaps(torch.ones(40, 2, 3, 4))

    @functools.wraps(maps)
    def wrapped(model, inputs, targets):
        return maps(model, inputs, targets)

    assert archive_of(named(wrapped)) is maps
    assert archive_of(named(maps, "mine")) is maps
    assert outcome(subject_of(), named(wrapped, "mine"), "shape").outcome == "passed"


def test_explainers_that_make_their_maps_are_none():
    @explainer(name="rows")
    def live(model, inputs, targets):
        return torch.ones_like(inputs)

    assert archive_of(named(live)) is None
    verdict = outcome(subject_of(), named(live), "deterministic")
    assert verdict.outcome == "passed"


def test_registered_under_a_name():
    repo = ModelRepo()
    repo.explainer("mine", from_maps(torch.ones(40, 2, 3, 4)))
    assert isinstance(repo.explainers["mine"], NamedExplainer)
    assert repo.explainers["mine"].name == "mine"
    report = check_explainer(repo.explainers["mine"], subject_of(), on_fail="ignore")
    assert {row.outcome for row in report} == {"passed", "not_applicable"}


def test_registered_by_its_name_in_the_gallery(folder):
    subject = subject_of()
    np.save("maps.npy", right(subject).numpy())
    repo = ModelRepo()
    repo.explainer("mine", "xai:StoredMaps", path="maps.npy", sums_to="delta")
    explained = repo.explainers["mine"]
    assert explained.traits.claims == {"summation_to_delta"}
    assert outcome(subject, explained, "summation_to_delta").outcome == "passed"
    assert outcome(subject, explained, "deterministic").reason == REASON
    with pytest.raises(InvalidArgument, match=r"xai:StoredMaps: path: got None, expected a \.npy"):
        repo.explainer("other", "xai:StoredMaps")
