"""Losses of words against another library's."""

import numpy as np
import torch
from sklearn.metrics import log_loss

from mtl_nlp.tasks.base import Task


def assert_cross_entropy(task: Task, seed: int, rows: int, seq_len: int) -> None:
    """The loss of a task with five logits is that of scikit-learn over the labelled words."""
    source = np.random.default_rng(seed)
    logits = source.normal(size=(rows, seq_len, 5)).astype(np.float32) * 4
    ids = source.choice([-100, 0, 1, 2, 3, 4], size=(rows, seq_len))
    loss = task.loss(torch.from_numpy(logits), torch.from_numpy(ids))
    known = ids != -100
    probabilities = torch.from_numpy(logits[known]).double().softmax(-1).numpy()
    expected = (
        log_loss(ids[known], probabilities, labels=range(5), normalize=False) if known.any() else 0
    )
    assert loss.count.item() == known.sum()
    np.testing.assert_allclose(loss.total.item(), expected, rtol=1e-4, atol=1e-4)
