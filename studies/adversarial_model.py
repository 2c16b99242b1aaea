"""Makes a model with the same predictions and other maps, and runs the checks on it.

    python -m studies.adversarial_model [--images 100] [--write docs/evidence/adversarial-model.md]

The model is the digits network with a linear layer in parallel that reads only directions in which
the data hardly vary (Anders et al. 2020, theorem 1, in its linear form). Its output on the data is
nearly 0, and its gradient, a frame around the image, is larger than the network's own. Prints the
change of the predictions, the maps and the verdicts in Markdown. Exits with 1 if the predictions
change too often.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from pytest_xai import Subject, checks, explainers
from pytest_xai.bench.bench import Bench
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.measures import spatial, topk_intersection
from pytest_xai.protocol import NamedExplainer
from pytest_xai.subjects import load_digits
from pytest_xai.subjects.digits import load_digits_images, load_digits_model
from studies.page import print_or_write

# Directions of least variance of the training images that the layer may read, of 64.
_QUIET = 20
# Length of its weights, in units of the mean length of the network's own gradients.
_LOUD = 4.0
_SHARE = 0.2

METHODS: dict[str, dict[str, object]] = {
    "captum:Saliency": {},
    "captum:SmoothGrad": {"draws": 10},
    "captum:InputXGradient": {},
    "captum:IntegratedGradients": {"steps": 20},
    "captum:GuidedBackprop": {},
    "captum:LayerGradCam": {},
    "zennit:LRPEpsilon": {},
    "captum:Occlusion": {},
}
CHECKS = (
    "summation_to_delta",
    "data_randomisation",
    "mprt_cascading",
    "random_logit",
    "continuity",
    "fgsm_dice",
    "map_fooling_topk",
)


class Disguised(nn.Module):
    """A network with a linear layer in parallel, whose outputs are added to its own."""

    def __init__(self, network: nn.Module, weights: Tensor, centre: Tensor) -> None:
        super().__init__()
        self.network = network
        self.flatten = nn.Flatten()
        self.beside = nn.Linear(weights.shape[1], len(weights)).to(weights.dtype)
        with torch.no_grad():
            self.beside.weight.copy_(weights)
            self.beside.bias.copy_(-weights @ centre)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the logits."""
        outputs: Tensor = self.network(inputs) + self.beside(self.flatten(inputs))
        return outputs


def quiet_directions() -> tuple[Tensor, Tensor]:
    """Orthonormal directions of least variance of the training images, (64, k); their mean."""
    rows = load_digits_images("train")[0].flatten(1).double()
    centre = rows.mean(0)
    _, _, directions = torch.linalg.svd(rows - centre)
    return directions[-_QUIET:].mT, centre


def disguised(images: int) -> tuple[Subject, Subject]:
    """The subject with its own network, and with one that shows a frame."""
    honest = load_digits(images)
    quiet, centre = quiet_directions()
    frame = torch.ones(8, 8, dtype=torch.float64)
    frame[1:-1, 1:-1] = 0
    shown = quiet @ (quiet.mT @ frame.flatten())
    leaf = honest.inputs.clone().requires_grad_()
    scores = honest.model(leaf).gather(1, honest.targets[:, None]).sum()
    length = torch.autograd.grad(scores, leaf)[0].flatten(1).norm(dim=1).mean()
    weights = (_LOUD * length * shown / shown.norm()).float().repeat(10, 1)
    # Not the same for all outputs: that would be nothing to a softmax.
    weights[1::2] *= -1
    model = Disguised(load_digits_model(), weights, centre.float()).eval()
    other = Subject(
        model,
        honest.inputs,
        honest.targets,
        baseline=honest.baseline,
        bounds=honest.bounds,
        name="disguised",
        permuted_model=honest.permuted,  # type: ignore[arg-type]  # there is one
    )
    return honest, other


def behaviour(honest: Subject, other: Subject) -> tuple[str, bool]:
    """Compare the predictions on the held-out images; return whether they are similar enough."""
    with torch.no_grad():
        before, after = (each.model(each.inputs).softmax(1) for each in (honest, other))
    same = float((before.argmax(1) == after.argmax(1)).double().mean())
    right = [float((p.argmax(1) == honest.targets).double().mean()) for p in (before, after)]
    moved = float((before - after).abs().amax(1).mean())
    lines = [
        "| | its own | disguised |",
        "| --- | --- | --- |",
        f"| accuracy on {len(honest)} held-out images | {right[0]:.3f} | {right[1]:.3f} |",
        f"| same prediction | | {same:.3f} |",
        f"| mean change of the largest probability | | {moved:.3f} |",
    ]
    return "\n".join(lines), same >= 0.99


def projected(explainer: NamedExplainer) -> NamedExplainer:
    """The explainer without what lies in the quiet directions, the defence of Anders et al."""
    quiet, _ = quiet_directions()

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        made = explainer.call(model, inputs, targets)
        assert isinstance(made, Tensor)
        rows = made.flatten(1).double()
        return (rows - rows @ quiet @ quiet.mT).to(made.dtype).view_as(made)

    return NamedExplainer(name="projected", call=explain, traits=explainer.traits)


def shown(honest: Subject, other: Subject) -> str:
    """How much the maps of the two have in common, and how much lies on the frame."""
    lines = [
        "| method | top 20 % in common | of two images | on the frame: its own | disguised |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows = {f"`{spec}`": explainers.get(spec, **options) for spec, options in METHODS.items()}
    signed = explainers.get("captum:Saliency", absolute=False)
    rows["gradient, projected on the data"] = projected(signed)
    frame = torch.ones(8, 8, dtype=torch.bool)
    frame[1:-1, 1:-1] = False
    for name, explainer in rows.items():
        maps = [explained(subject, explainer) for subject in (honest, other)]
        common = float(topk_intersection(*maps, fraction=_SHARE).nanmean())
        null = float(topk_intersection(maps[0], maps[0].roll(1, 0), fraction=_SHARE).nanmean())
        on = [float((m.abs() * frame).sum((1, 2)).div(m.abs().sum((1, 2))).nanmean()) for m in maps]
        lines.append(f"| {name} | {common:.2f} | {null:.2f} | {on[0]:.2f} | {on[1]:.2f} |")
    return "\n".join(lines)


def agreement(honest: Subject, other: Subject) -> str:
    """How much methods have in common with one another, on either network."""
    pairs = (
        ("captum:Saliency", "captum:Occlusion"),
        ("captum:Saliency", "captum:IntegratedGradients"),
        ("captum:Occlusion", "captum:IntegratedGradients"),
    )
    lines = [
        "| two methods on one network | its own | disguised |",
        "| --- | --- | --- |",
    ]
    for pair in pairs:
        shares = []
        for subject in (honest, other):
            maps = [explained(subject, explainers.get(spec, **METHODS[spec])) for spec in pair]
            shares.append(float(topk_intersection(*maps, fraction=_SHARE).nanmean()))
        names = " and ".join(f"`{spec}`" for spec in pair)
        lines.append(f"| {names} | {shares[0]:.2f} | {shares[1]:.2f} |")
    return "\n".join(lines)


def explained(subject: Subject, explainer: NamedExplainer) -> Tensor:
    """Maps of all images with their channels summed, (n, 8, 8)."""
    bench = Bench(subject)
    try:
        order = torch.tensor(bench.images).argsort()
        return spatial(bench.maps(explainer))[order]
    finally:
        bench.close()


def judged(honest: Subject, other: Subject) -> str:
    """What the checks say of the gradient on either network."""
    lines = ["| check | its own | disguised |", "| --- | --- | --- |"]
    for check in CHECKS:
        words = [_word(subject, check) for subject in (honest, other)]
        lines.append(f"| `{check}` | {words[0]} | {words[1]} |")
    return "\n".join(lines)


def _word(subject: Subject, check: str) -> str:
    spec = "captum:IntegratedGradients" if check == "summation_to_delta" else "captum:Saliency"
    bench = Bench(subject)
    try:
        task = Task(check=checks.get(check), explainer=explainers.get(spec), asserted=True)
        verdict = run_check(bench, task)
    finally:
        bench.close()
    figure = "" if verdict.figure is None else f" ({verdict.figure:.2g})"
    return f"{verdict.outcome}{figure}"


def main() -> int:
    """Print the tables, or write them between the marks of a page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--write", type=Path, help="the page whose tables are replaced")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    predictions, kept = behaviour(*disguised(360))
    pair = disguised(arguments.images)
    parts: list[Callable[[Subject, Subject], str]] = [shown, agreement, judged]
    text = "\n\n".join([predictions, *(part(*pair) for part in parts)])
    print_or_write(arguments.write, text)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
