"""The contrastive losses, equations 1 to 6 of the paper, and the distance from a teacher."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from crosspoint.models.crosspoint import Projections
from crosspoint.train.engine.distributed import ProcessGroup
from crosspoint.train.pretrain.distillation import Distilled


def nt_xent(one: Tensor, two: Tensor, *, temperature: float, group: ProcessGroup | None = None) -> Tensor:
    """Normalised temperature-scaled cross entropy between two views of the same N objects (eqs 1–2, and 4–5).

    With cosine similarity s, the loss of sample i of the first view is (eq. 1)

        l(i, 1, 2) = −log  exp(s(z¹_i, z²_i)/τ) / (Σ_{k≠i} exp(s(z¹_i, z¹_k)/τ) + Σ_k exp(s(z¹_i, z²_k)/τ))

    and the loss is the mean of l(i, 1, 2) and l(i, 2, 1) over all i (eq. 2). It is computed in float32 or wider.

    Args:
        one: `(N, D)`, not normalised.
        two: `(N, D)`.
        temperature: τ.
        group: Processes that share the batch. The samples of other processes are negatives too, and the mean of the
            results over the processes is the loss of the whole batch.
    """
    with torch.autocast(one.device.type, enabled=False):
        wide = torch.promote_types(one.dtype, torch.float32)
        one = functional.normalize(one.to(wide), dim=1)
        two = functional.normalize(two.to(wide), dim=1)
        own = torch.cat([one, two])  # (2n, D)
        start = 0
        if group is not None and group.size > 1:
            one, two, start = group.gather(one), group.gather(two), group.rank * len(one)
        everything = torch.cat([one, two])  # (2N, D)
        logits = own @ everything.t() / temperature  # (2n, 2N)
        count = len(own) // 2
        index = start + torch.arange(count, device=own.device)
        itself = torch.cat([index, index + len(one)])
        positive = torch.cat([index + len(one), index])
        logits = logits.scatter(1, itself.unsqueeze(1), float("-inf"))
        return functional.cross_entropy(logits, positive)


class Losses(NamedTuple):
    """The loss that is minimised, and its terms; a term that the objective does not use is None."""

    total: Tensor
    imid: Tensor | None = None
    cmid: Tensor | None = None
    first: Tensor | None = None
    second: Tensor | None = None

    def named(self) -> dict[str, Tensor]:
        """`loss`, and `loss_TERM` for each term there is."""
        terms = {f"loss_{name}": term for name, term in self._asdict().items() if name != "total" and term is not None}
        return {"loss": self.total, **terms}


def crosspoint_loss(
    projections: Projections, temperature: float, *, objective: str, group: ProcessGroup | None = None
) -> Losses:
    """`L = L_imid + L_cmid` (eq. 6), or one of its terms (Figure 3).

    L_imid contrasts the two views of each cloud (eqs 1–2); L_cmid the prototype, the mean of the two *projected*
    vectors before normalisation (eq. 3), with the projected image (eqs 4–5).

    Args:
        projections: The projections of one batch.
        temperature: τ.
        objective: `joint`, `imid` or `cmid`.
        group: Processes that share the batch; None: one process.
    """
    imid = cmid = None
    if objective != "cmid":
        imid = nt_xent(projections.first, projections.second, temperature=temperature, group=group)
    if objective != "imid":
        assert projections.image is not None
        prototype = (projections.first + projections.second) / 2  # (B, 256)
        cmid = nt_xent(prototype, projections.image, temperature=temperature, group=group)
    terms = [term for term in (imid, cmid) if term is not None]
    return Losses(torch.stack(terms).sum(), imid, cmid)


SMALLEST_DEVIATION = 1e-3  # of a component that hardly varies, so that its noise is not all that is learned


def distillation_loss(embeddings: Distilled, group: ProcessGroup | None = None) -> Losses:
    """How far the student's embeddings of two views are from the teacher's t of the whole clouds.

    For embeddings of D components, of which component d of t has the variance σ²_d over the batch,

        L(z) = mean_{i, d} (z_id − t_id)² / (σ²_d + ε²),    L = L(first) + L(second),

    so that every component counts alike, as it does to a classifier on standardised embeddings. 1 is as far as the mean
    of the batch is from each of its objects.

    Args:
        embeddings: Distilled of one batch.
        group: Processes that share the batch: the variance is over all of it, and the mean of the results is the loss.
    """
    wide = torch.promote_types(embeddings.first.dtype, torch.float32)
    first, second, target = (each.to(wide) for each in embeddings)
    everything = target if group is None else group.gather(target)
    scale = (everything.var(dim=0, correction=0) + SMALLEST_DEVIATION**2).rsqrt()  # (D,)
    terms = [((each - target) * scale).square().mean() for each in (first, second)]
    return Losses(torch.stack(terms).sum(), first=terms[0], second=terms[1])
