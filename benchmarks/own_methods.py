"""Measures the time of our own explainers in addition to the model's, on a ResNet-18.

    python benchmarks/own_methods.py [--methods RISE SIDU] [--masks 2000] [--repeats 3]

The model has random weights, and the images are 224 x 224.

For each method two process CPU times in seconds: that of the explanation of one image, and that of
the same evaluations of the model alone, in the same batches and without gradients. The two
alternate, after a warm-up, and their medians are divided.

How to read it: a ratio of 1.05 means that making, applying and adding the masks takes 5 % of the
model's time. SIDU has as many masks as its layer has channels, 512. One thread is the default,
because several threads wait for each other and process time counts the waiting. Exits with 1 above
the limit.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai.explainers.own import ENTRIES

_METHODS = ("RISE", "SIDU")


def make_case() -> tuple[nn.Module, Tensor]:
    """ResNet-18 of torchvision with seeded random weights, and noise to look at."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    return resnet18().eval(), torch.rand(1, 3, 224, 224)


def make_call(model: nn.Module, image: Tensor, method: str, masks: int) -> Callable[[], object]:
    """One explanation, ready to be run."""
    options = {"masks": masks} if method == "RISE" else {}
    explain = ENTRIES[f"xai:{method}"].factory(**options)
    baseline, target = torch.zeros_like(image), torch.tensor([1])
    return lambda: explain(model, image, target, baseline=baseline)


def batches_of(model: nn.Module, call: Callable[[], object]) -> list[int]:
    """The sizes of the batches that a call sends through the model."""
    sizes: list[int] = []
    handle = model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    call()
    handle.remove()
    return sizes


def run_bare(model: nn.Module, image: Tensor, sizes: list[int]) -> None:
    """The model on batches of these sizes and nothing else."""
    images = image.expand(max(sizes), -1, -1, -1).contiguous()
    with torch.no_grad():
        for size in sizes:
            model(images[:size])


def seconds(function: Callable[[], object]) -> float:
    """Process CPU time of a call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def compare(model: nn.Module, image: Tensor, method: str, arguments: argparse.Namespace) -> float:
    """Measure one method, print its row; the ratio."""
    call = make_call(model, image, method, arguments.masks)
    sizes, whole, bare = [], [], []
    for _ in range(arguments.repeats):
        whole.append(seconds(lambda: sizes.append(batches_of(model, call))))
        bare.append(seconds(lambda: run_bare(model, image, sizes[-1])))
    ratio = statistics.median(whole) / statistics.median(bare)
    print(
        f"{method:<16}{sum(sizes[-1]):>9}{max(sizes[-1]):>9}{statistics.median(whole):>10.2f}"
        f"{statistics.median(bare):>10.2f}{ratio:>8.3f}",
        flush=True,
    )
    return ratio


def main() -> int:
    """Measure all methods, print a table, and compare with the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", nargs="+", default=list(_METHODS), choices=_METHODS)
    parser.add_argument("--masks", type=int, default=2000, help="of RISE")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=1.15, help="largest ratio accepted")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, image = make_case()
    make_call(model, image, "RISE", 26)()  # warm-up
    print(
        f"ResNet-18, 1 image of 224 x 224, {torch.get_num_threads()} thread(s), "
        f"median of {arguments.repeats} alternating runs, CPU seconds"
    )
    print(f"{'method':<16}{'forward':>9}{'batch':>9}{'method':>10}{'bare':>10}{'ratio':>8}")
    worst = max(compare(model, image, method, arguments) for method in arguments.methods)
    print(f"largest ratio {worst:.3f} (limit {arguments.limit:g})")
    return 0 if worst <= arguments.limit else 1


if __name__ == "__main__":
    sys.exit(main())
