"""JSMA: few elements, chosen in pairs by a saliency map of the Jacobian, go to a bound."""

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_share
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import Victim, require_gradient
from pytest_xai.bench.bench import Bench
from pytest_xai.errors import InvalidArgument

__all__ = ["jsma"]


def jsma(bench: Bench, *, share: float = 0.145, increase: bool = True) -> Attacked:
    """Change the most salient pair of elements in each step (Papernot et al. 2016, algorithm 3).

    By the Jacobian of the logits, the pair raises the logit of the target and lowers the sum of the
    other logits; the chosen pair has the largest product of the two effects. Both elements are set
    to a bound of the inputs, and each element is changed once. The target is the most likely other
    class.

    Args:
        bench: provides the model and the images; its targets are the labels.
        share: share of the elements that may be changed, above 0 and at most 1; the budget.
        increase: set elements to the upper bound; False: to the lower bound.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range, or the model has no gradient with respect to them.
    """
    require_share(share, "share")
    if share > 1:
        raise InvalidArgument.of("share", got=repr(share), expected="1 or less")
    require_gradient(bench)
    pairs = int(share * bench.inputs[0].numel()) // 2

    def attack(victim: Victim) -> Tensor:
        return _jsma(victim, pairs, 1 if increase else -1)

    name = ("jsma", share, increase)
    return run_attack(bench, name, attack, norm=0.0, budget=2.0 * pairs)


def _jsma(victim: Victim, pairs: int, sign: int) -> Tensor:
    inputs = victim.inputs
    bound = victim.bounds[1] if sign > 0 else victim.bounds[0]
    rows = inputs.flatten(1).clone()
    going = torch.arange(len(rows), device=rows.device)
    targets = None
    for _ in range(pairs):
        batch = rows[going].reshape(-1, *inputs.shape[1:]).requires_grad_()
        logits = victim.network(batch)
        if targets is None:
            targets = logits.detach().scatter(1, victim.labels[:, None], -torch.inf).argmax(1)
        staying = (logits.argmax(1) == victim.labels[going]).nonzero().flatten().tolist()
        if not staying:
            break
        rises, falls = _slopes(logits, targets[going], batch, sign)
        more = []
        for place in staying:
            row = int(going[place])
            # Elements at the bound, including those that were changed, are not available.
            pair = most_salient_pair(rises[place], falls[place], rows[row] != bound)
            if pair is not None:
                rows[row, pair] = bound
                more.append(row)
        going = torch.tensor(more, device=rows.device, dtype=torch.long)
        if not more:
            break
    return victim.successful(rows.reshape(inputs.shape))


def _slopes(logits: Tensor, targets: Tensor, batch: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """Return the slopes of the target's logit and, sign-flipped, of the others, (n, d)."""
    own = logits.gather(1, targets[:, None]).sum()
    (target,) = torch.autograd.grad(own, batch, retain_graph=True)
    (others,) = torch.autograd.grad(logits.sum() - own, batch)
    return sign * target.flatten(1), -sign * others.flatten(1)


def most_salient_pair(rises: Tensor, falls: Tensor, open_: Tensor) -> Tensor | None:
    """Return the pair with the largest product of sums, both above zero; None if there is none.

    The product grows with each sum. An element that is worse in both sums than two others cannot
    be in the best pair. Only few of many thousands of elements remain, and all their pairs are
    tried.

    Args:
        rises: slope of the target's logit per element, (d,).
        falls: negative slope of the sum of the other logits per element, (d,).
        open_: elements that may be chosen, BoolTensor (d,).

    Returns:
        Two different indices, LongTensor (2,).
    """
    places = open_.nonzero().flatten()
    first = _unbeaten(rises[places], falls[places])
    rest = torch.ones_like(places, dtype=torch.bool)
    rest[first] = False
    others = rest.nonzero().flatten()
    second = others[_unbeaten(rises[places[others]], falls[places[others]])]
    places = places[torch.cat([first, second])]
    up = rises[places, None] + rises[None, places]
    down = falls[places, None] + falls[None, places]
    product = torch.where((up > 0) & (down > 0), up * down, -torch.inf)
    product.fill_diagonal_(-torch.inf)
    if len(places) < 2 or not product.max() > 0:
        return None
    best = int(product.argmax())
    return places[torch.tensor([best // len(places), best % len(places)], device=places.device)]


def _unbeaten(rises: Tensor, falls: Tensor) -> Tensor:
    """Return the indices of the Pareto optimal elements; of equal elements, the first."""
    if not len(rises):
        return torch.empty(0, dtype=torch.long, device=rises.device)
    order = falls.argsort(descending=True, stable=True)
    order = order[rises[order].argsort(descending=True, stable=True)]
    sorted_falls = falls[order]
    before = sorted_falls.cummax(0).values.roll(1)
    before[0] = -torch.inf
    return order[sorted_falls > before]
