"""SMART: a small change of the input that changes predictions most must change them little."""

import hashlib
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.model.perturbing import perturbed
from mtl_nlp.training.random_state import random_state, set_random_state
from mtl_nlp.training.task_losses import PLAIN, TaskLosses

Norm = Literal["inf", "l2"]
"""The ball of perturbations: of every entry of the embeddings, or of all of an encoder row's."""


class SmartLosses(TaskLosses):
    """The loss, and the divergence of what is predicted from embeddings moved for the worst.

    The smoothness-inducing adversarial regularization of Jiang et al. (2020, arXiv:1911.03437),
    equation 2, with one step of ascent; virtual adversarial training (Miyato et al., 2016,
    arXiv:1605.07725) before it. To the loss of a task with the weight λ is added

        λ max of D(p(x), p(x + δ)) over δ with |δ| ≤ radius

    where D is the task's symmetric divergence and δ is sought for each encoder row by itself: from
    normal noise one step up the slope of what D is for all tasks of the row together, of the length
    step_size in the norm, and back into the ball. The gradient of D goes through both predictions.

    All passes have the same dropout, so that only the input differs. The noise is a function of
    seed, step and the row's own sub-words: neither a resume nor how a step is cut changes it.

    Args:
        weights: λ of each task; a task without keeps its loss.
        radius: Of the ball, in units of an embedding's entry.
        step_size: Of the ascent.
        noise: Standard deviation of the noise.
        norm: Of the ball and the step.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        *,
        radius: float,
        step_size: float,
        noise: float,
        norm: Norm,
    ) -> None:
        self.weights, self.radius, self.step_size = weights, radius, step_size
        self.noise, self.norm = noise, norm

    def totals(self, model: MultiTaskModel, batch: Batch, key: int) -> dict[str, Tensor]:
        """The sums; see the base class."""
        names = [name for name in batch.targets if name in self.weights]
        if not names:
            return PLAIN.totals(model, batch, key)
        device = batch.input_ids.device
        before = random_state(device)
        others = [name for name in batch.targets if name not in names]
        here = model(**batch, tasks=[*names, *others])  # their heads first: with the same dropout
        after = random_state(device)
        still = {name: here.logits[name].detach() for name in names}
        start = row_noise(batch, embedding_width(model), key) * self.noise
        with torch.enable_grad():
            start.requires_grad_()
            set_random_state(before, device)
            apart = divergences(model, batch, still, start)
            (slope,) = torch.autograd.grad(torch.stack(list(apart.values())).sum(), start)
        by = self.into_ball(start.detach() + self.step_size * slope / self.size(slope))
        set_random_state(before, device)
        apart = divergences(model, batch, {name: here.logits[name] for name in names}, by)
        set_random_state(after, device)
        totals = {name: one.total for name, one in here.sums.items()}
        return totals | {name: totals[name] + self.weights[name] * apart[name] for name in names}

    def size(self, by: Tensor) -> Tensor:
        """The norm of each row of a perturbation (rows, seq_len, features), (rows, 1, 1)."""
        if self.norm == "inf":
            found = by.abs().amax(dim=(1, 2), keepdim=True)
        else:
            found = by.square().sum(dim=(1, 2), keepdim=True).sqrt()
        return found.clamp(min=torch.finfo(by.dtype).tiny)

    def into_ball(self, by: Tensor) -> Tensor:
        """The nearest perturbation within the ball."""
        if self.norm == "inf":
            return by.clamp(-self.radius, self.radius)
        return by * (self.radius / self.size(by)).clamp(max=1.0)


def divergences(
    model: MultiTaskModel, batch: Batch, logits: Mapping[str, Tensor], by: Tensor
) -> dict[str, Tensor]:
    """How far predictions from moved embeddings are from these, by task.

    Args:
        model: That predicts.
        batch: Of what, with targets.
        logits: What it predicts of some tasks where nothing is moved.
        by: How the embeddings are moved, (rows, seq_len, features).
    """
    with perturbed(model, batch.attention_mask, by):
        moved = model(**batch, tasks=list(logits)).logits
    found = {}
    for name, one in logits.items():
        labels = batch.targets[name].labels
        assert labels is not None
        found[name] = model.tasks[name].divergence(one, moved[name], labels)
    return found


def embedding_width(model: MultiTaskModel) -> int:
    """Features of an input embedding."""
    weight = model.encoder.get_input_embeddings().weight
    assert isinstance(weight, Tensor)
    return weight.shape[1]


def row_noise(batch: Batch, width: int, key: int) -> Tensor:
    """Normal numbers for each token, 0 at padding, (rows, seq_len, width).

    Those of a row are a function of the key and of its sub-words alone.
    """
    noise = torch.zeros(*batch.input_ids.shape, width)
    real = batch.attention_mask.bool().cpu()
    for row, ids in enumerate(batch.input_ids.cpu()):
        own = ids[real[row]].numpy().tobytes()
        digest = hashlib.blake2b(own, digest_size=8, key=key.to_bytes(8, "little")).digest()
        seed = int.from_bytes(digest, "little")
        noise[row, real[row]] = torch.randn(
            int(real[row].sum()), width, generator=torch.Generator().manual_seed(seed)
        )
    return noise.to(batch.input_ids.device)
