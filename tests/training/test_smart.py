"""SMART against its formula on a stock encoder, and its noise and its ball by law."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mtl_nlp.data.collator import Collator
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.model.perturbing import perturbed
from mtl_nlp.training.preparation import prepare
from mtl_nlp.training.smart import Norm, SmartLosses, row_noise
from mtl_nlp.training.task_losses import PLAIN
from tests.runs import tiny_model, tiny_recipe
from tests.training.test_r_drop import drop

OPTIONS = {"radius": 0.05, "step_size": 5.0, "noise": 0.01}
NORMS: tuple[Norm, ...] = ("inf", "l2")
RADII = {"inf": 0.05, "l2": 0.6}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[MultiTaskModel, Batch]:
    prepared = prepare(tiny_recipe(tmp_path_factory.mktemp("smart")))
    model = tiny_model(prepared).train()
    drop(model, 0.0)
    tables = [prepared.train[name].take(np.arange(6)) for name in ("chat", "news")]
    return model, Collator(model.tasks, 0).batch(tables)


def kl_both_ways(one: Tensor, other: Tensor) -> Tensor:
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    there = F.kl_div(p, q, log_target=True, reduction="sum")
    return there + F.kl_div(q, p, log_target=True, reduction="sum")


@pytest.mark.parametrize("norm", NORMS)
def test_it_is_the_formula_of_the_paper(made: tuple[MultiTaskModel, Batch], norm: Norm) -> None:
    """Row by row, by stock BERT's own ``inputs_embeds``."""
    model, batch = made
    tasks = ("intent", "ner", "topic")
    embed, noise = model.encoder.get_input_embeddings(), row_noise(batch, 32, 7)
    expected = {name: one.total for name, one in model(**batch).sums.items()}
    weights = {"intent": 2.0, "ner": 0.5, "topic": 1.0}
    for row, length in enumerate(batch.attention_mask.sum(dim=1).tolist()):
        cut = batch.input_ids[row : row + 1, :length]
        ones = torch.ones_like(cut)

        def divergences(by: Tensor, row: int = row, cut: Tensor = cut, ones: Tensor = ones) -> dict:
            """Of the tasks that speak of the row."""
            found = {}
            for name in tasks:
                target = batch.targets[name]
                assert target.labels is not None
                if row not in target.rows.tolist():
                    continue
                labels = target.labels[target.rows.tolist().index(row)]
                logits = []
                for moved in (embed(cut), embed(cut) + by):
                    hidden = model.encoder(inputs_embeds=moved, attention_mask=ones)
                    states = EncoderStates(
                        hidden.last_hidden_state, ones, batch.words[row : row + 1, : cut.shape[1]]
                    )
                    one = model.tasks[name].run(model.heads[name], states, None)[0]
                    known = labels != -100
                    logits.append(one[known[: len(one)]] if one.ndim == 2 else one[None])
                found[name] = kl_both_ways(*logits) if (labels != -100).any() else 0 * one.sum()
            return found

        start = (0.01 * noise[row : row + 1, :length]).requires_grad_()
        if not (apart := divergences(start)):
            continue
        (slope,) = torch.autograd.grad(torch.stack(list(apart.values())).sum(), start)
        order = math.inf if norm == "inf" else 2
        by = start.detach() + 5.0 * slope / slope.flatten().norm(order)
        if norm == "inf":
            by = by.clamp(-0.05, 0.05)
        elif by.norm() > 0.6:
            by = 0.6 * by / by.norm()
        for name, one in divergences(by).items():
            expected[name] = expected[name] + weights[name] * one
    options = {**OPTIONS, "radius": RADII[norm]}
    found = SmartLosses(weights, norm=norm, **options).totals(model, batch, key=7)
    plain = PLAIN.totals(model, batch, key=7)
    for name in tasks:
        assert found[name] > plain[name] * 1.0001, "too little is added to be compared"
        torch.testing.assert_close(found[name], expected[name], rtol=2e-4, atol=0.0)


def test_without_padding_it_is_the_same(made: tuple[MultiTaskModel, Batch]) -> None:
    model, batch = made
    losses = SmartLosses(dict.fromkeys(model.tasks, 1.0), norm="inf", **OPTIONS)
    padded = losses.totals(model, batch, key=3)
    assert model.skip_padding()
    packed = losses.totals(model, batch, key=3)
    model._packed = None
    for name, one in padded.items():
        torch.testing.assert_close(packed[name], one, rtol=1e-4, atol=0.0)


def test_all_passes_have_the_same_dropout(made: tuple[MultiTaskModel, Batch]) -> None:
    """Where nothing is moved nothing is added, however much is dropped."""
    model, batch = made
    drop(model, 0.3)
    torch.manual_seed(1)
    plain = PLAIN.totals(model, batch, key=0)
    follows = torch.rand(1)
    torch.manual_seed(1)
    still = {"radius": 1e-30, "step_size": 1e-30, "noise": 1e-30}
    losses = SmartLosses(dict.fromkeys(model.tasks, 1.0), norm="inf", **still)
    found = losses.totals(model, batch, key=0)
    assert torch.equal(torch.rand(1), follows)
    drop(model, 0.0)
    assert all(torch.equal(found[name], one) for name, one in plain.items())


def test_the_search_leaves_no_gradient_on_the_weights(made: tuple[MultiTaskModel, Batch]) -> None:
    model, batch = made
    model.zero_grad()
    with torch.no_grad():
        quiet = SmartLosses({"ner": 1.0}, norm="l2", **OPTIONS).totals(model, batch, key=2)
    loud = SmartLosses({"ner": 1.0}, norm="l2", **OPTIONS).totals(model, batch, key=2)
    assert all(p.grad is None for p in model.parameters())
    torch.testing.assert_close(quiet["ner"], loud["ner"].detach())


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**20), st.sampled_from(NORMS), st.floats(0.01, 10.0))
def test_what_is_moved_stays_in_the_ball(seed: int, norm: Norm, radius: float) -> None:
    by = 3 * torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed))
    losses = SmartLosses({}, radius=radius, step_size=1.0, noise=1.0, norm=norm)
    inside = losses.into_ball(by)
    assert (losses.size(inside) <= radius * (1 + 1e-5)).all()
    assert torch.allclose(losses.into_ball(inside), inside)
    if norm == "l2":
        kept = by.flatten(1).norm(dim=1) <= radius
        assert torch.equal(inside[kept], by[kept])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=5))
def test_the_noise_of_a_row_is_its_own(rows: list[list[int]]) -> None:
    longest = max(map(len, rows))

    def batch(some: list[list[int]], width: int) -> Batch:
        ids = torch.tensor([row + [0] * (width - len(row)) for row in some])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in some])
        return Batch(ids, mask, ids, torch.arange(len(some)))

    together = row_noise(batch(rows, longest), 3, key=11)
    for number, row in enumerate(rows):
        alone = row_noise(batch([row], len(row) + 2), 3, key=11)
        assert torch.equal(together[number, : len(row)], alone[0, : len(row)])
        assert not together[number, len(row) :].any()
        other = row_noise(batch([row], len(row)), 3, key=12)
        assert not torch.equal(other[0], alone[0, : len(row)])


def test_only_the_next_run_of_the_encoder_is_moved(made: tuple[MultiTaskModel, Batch]) -> None:
    model, batch = made
    before = model(**batch).logits["ner"]
    by = torch.randn(*batch.input_ids.shape, 32)
    with perturbed(model, batch.attention_mask, by):
        assert not torch.equal(model(**batch).logits["ner"], before)
        assert torch.equal(model(**batch).logits["ner"], before)
    with perturbed(model, batch.attention_mask, by):
        pass
    assert torch.equal(model(**batch).logits["ner"], before)
