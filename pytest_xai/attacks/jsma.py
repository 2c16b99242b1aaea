"""Few elements, changed as far as they go: pairs chosen by a saliency map of the Jacobian."""

import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_share
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import Victim, require_gradient
from pytest_xai.bench.bench import Bench
from pytest_xai.errors import InvalidArgument

__all__ = ["jsma"]


def jsma(bench: Bench, *, share: float = 0.145, increase: bool = True) -> Attacked:
    """The most salient pair of elements, again and again (Papernot et al. 2016, algorithm 3).

    In each step the two elements go to a bound of the inputs for which, by the Jacobian of the
    logits, the target's logit rises and the sum of the others falls the most: the product of the
    two is largest. The target is the likeliest other class. An element is changed once.

    Args:
        bench: whose images; targets are the labels.
        share: of the elements that may be changed, above 0 and at most 1; the budget.
        increase: to the upper bound; False: to the lower.

    Raises:
        InvalidArgument: an option is not as above.
        NotApplicable: the inputs have no range, or the model has no gradient.
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
            # What is at the bound cannot go there; what was changed is.
            pair = most_salient_pair(rises[place], falls[place], rows[row] != bound)
            if pair is not None:
                rows[row, pair] = bound
                more.append(row)
        going = torch.tensor(more, device=rows.device, dtype=torch.long)
        if not more:
            break
    return victim.successful(rows.reshape(inputs.shape))


def _slopes(logits: Tensor, targets: Tensor, batch: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """How fast the target's logit rises and the sum of the others falls, per element, (n, d)."""
    own = logits.gather(1, targets[:, None]).sum()
    (target,) = torch.autograd.grad(own, batch, retain_graph=True)
    (others,) = torch.autograd.grad(logits.sum() - own, batch)
    return sign * target.flatten(1), -sign * others.flatten(1)


def most_salient_pair(rises: Tensor, falls: Tensor, open_: Tensor) -> Tensor | None:
    """The pair with the largest product of sums of which both are above zero; None: there is none.

    The product grows with either sum. So an element that two others beat in both is in no pair
    that is better than all: of many thousands of elements a few remain, and all their pairs are
    tried.

    Args:
        rises: (d,).
        falls: (d,).
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
    """Indices of those that no other is at least as good as in both; of equal ones, the first."""
    if not len(rises):
        return torch.empty(0, dtype=torch.long, device=rises.device)
    order = falls.argsort(descending=True, stable=True)
    order = order[rises[order].argsort(descending=True, stable=True)]
    sorted_falls = falls[order]
    before = sorted_falls.cummax(0).values.roll(1)
    before[0] = -torch.inf
    return order[sorted_falls > before]
