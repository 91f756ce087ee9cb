"""R-Drop against its formula, and without dropout against nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mtl_nlp.data.collator import Collator
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.training.preparation import prepare
from mtl_nlp.training.r_drop import RDropLosses
from mtl_nlp.training.task_losses import PLAIN
from tests.runs import tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[MultiTaskModel, Batch]:
    prepared = prepare(tiny_recipe(tmp_path_factory.mktemp("r_drop")))
    model = tiny_model(prepared).train()
    tables = [prepared.train[name].take(np.arange(9)) for name in ("chat", "news")]
    return model, Collator(model.tasks, 0).batch(tables)


def drop(model: MultiTaskModel, probability: float) -> None:
    model.encoder.config.attention_probs_dropout_prob = probability
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = probability
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = probability


def test_it_is_the_formula_of_the_paper(made: tuple[MultiTaskModel, Batch]) -> None:
    model, batch = made
    drop(model, 0.3)
    torch.manual_seed(5)
    found = RDropLosses({"intent": 2.0, "ner": 0.5}).totals(model, batch, key=0)
    torch.manual_seed(5)
    first = model(**batch)
    second = model(**batch, tasks=["intent", "ner"])
    assert not torch.equal(first.logits["intent"], second.logits["intent"])
    for name, alpha in (("intent", 2.0), ("ner", 0.5)):
        labels = batch.targets[name].labels
        assert labels is not None
        p, q = (out.logits[name][labels != -100].log_softmax(-1) for out in (first, second))
        right = labels[labels != -100]
        nll = F.nll_loss(p, right, reduction="sum") + F.nll_loss(q, right, reduction="sum")
        kl = F.kl_div(p, q, log_target=True, reduction="sum")
        kl = kl + F.kl_div(q, p, log_target=True, reduction="sum")
        torch.testing.assert_close(found[name], nll / 2 + alpha * kl / 2)
    assert torch.equal(found["topic"], first.sums["topic"].total)


def test_without_dropout_nothing_is_added(made: tuple[MultiTaskModel, Batch]) -> None:
    model, batch = made
    drop(model, 0.0)
    gradients = []
    for losses in (PLAIN, RDropLosses(dict.fromkeys(model.tasks, 1.0))):
        totals = losses.totals(model, batch, key=0)
        model.zero_grad()
        torch.stack(list(totals.values())).sum().backward()
        gradients.append((totals, {n: p.grad for n, p in model.named_parameters()}))
    (plain, by_plain), (regular, by_regular) = gradients
    assert all(torch.equal(plain[name], regular[name]) for name in plain)
    for name, gradient in by_plain.items():
        if gradient is not None:
            torch.testing.assert_close(by_regular[name], gradient, rtol=1e-4, atol=1e-6)


def test_a_piece_without_its_tasks_is_read_once(
    made: tuple[MultiTaskModel, Batch], tmp_path: Path
) -> None:
    model, batch = made
    runs: list[int] = []
    handle = model.encoder.register_forward_hook(lambda *_: runs.append(1))
    alone = Batch(**{**batch, "targets": {"topic": batch.targets["topic"]}})
    RDropLosses({"intent": 1.0}).totals(model, alone, key=0)
    assert len(runs) == 1
    RDropLosses({"topic": 1.0}).totals(model, alone, key=0)
    handle.remove()
    assert len(runs) == 3
