"""Invariant 6: tasks that run together in one encoder pass get what each gets alone."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mtl_nlp.model.batch import Targets
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import VOCABULARY, tiny_config

ROWS, SEQ_LEN = 5, 9
TASKS = {
    "topic": {"type": "text_classification", "labels": ["a", "b", "c"]},
    "mood": {"type": "text_classification", "labels": ["d", "e"], "stock": False},
    "ner": {"type": "token_classification", "labels": ["x"]},
    "pos": {"type": "token_classification", "labels": ["N", "V"], "scheme": "none"},
}
architectures = pytest.mark.parametrize("architecture", ["bert", "modernbert", "t5"])
brief = settings(max_examples=25, deadline=None)


@cache
def _model(architecture: str) -> MultiTaskModel:
    torch.manual_seed(0)
    model = MultiTaskModel(MultiTaskConfig(tiny_config(architecture)))
    for name, task in TASKS.items():
        model.add_task(name, task)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


def _batch(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, len(VOCABULARY), (ROWS, SEQ_LEN), generator=generator)
    lengths = torch.randint(1, SEQ_LEN + 1, (ROWS, 1), generator=generator)
    return {"input_ids": ids, "attention_mask": (torch.arange(SEQ_LEN) < lengths).long()}


def _targets(rows: dict[str, list[int]], seed: int) -> dict[str, Targets]:
    generator = torch.Generator().manual_seed(seed)
    targets = {}
    for name, chosen in rows.items():
        shape = (len(chosen), SEQ_LEN) if name in ("ner", "pos") else (len(chosen),)
        labels = torch.randint(0, 2, shape, generator=generator)
        targets[name] = Targets(torch.tensor(sorted(chosen)), labels)
    return targets


some_rows = st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS, unique=True)


@architectures
@brief
@given(
    names=st.lists(st.sampled_from(list(TASKS)), min_size=1, unique=True), seed=st.integers(0, 999)
)
@torch.no_grad()
def test_predictions_together_are_those_alone(
    architecture: str, names: list[str], seed: int
) -> None:
    model, batch = _model(architecture), _batch(seed)
    together = model(**batch, tasks=names).logits
    assert list(together) == names
    for name in names:
        assert torch.equal(together[name], model(**batch, tasks=[name]).logits[name])


@architectures
@brief
@given(
    rows=st.dictionaries(st.sampled_from(list(TASKS)), some_rows, min_size=1),
    seed=st.integers(0, 999),
)
@torch.no_grad()
def test_losses_together_are_those_alone(
    architecture: str, rows: dict[str, list[int]], seed: int
) -> None:
    model, batch, targets = _model(architecture), _batch(seed), _targets(rows, seed)
    together, everything = model(**batch, targets=targets), model(**batch).logits
    assert set(together.logits) == set(together.sums) == set(rows)
    for name, target in targets.items():
        alone = model(**batch, targets={name: target})
        assert torch.equal(together.logits[name], alone.logits[name])
        assert torch.equal(together.sums[name].total, alone.sums[name].total)
        assert torch.equal(together.sums[name].count, alone.sums[name].count)
        torch.testing.assert_close(together.logits[name], everything[name][target.rows])


@architectures
def test_the_encoder_runs_once_whatever_the_tasks(architecture: str) -> None:
    model, calls = _model(architecture), []
    hook = model.encoder.register_forward_hook(lambda *_: calls.append(1))
    model(**_batch(0))
    assert len(calls) == 1
    model(**_batch(0), targets=_targets({name: [0, 2] for name in TASKS}, 0))
    hook.remove()
    assert len(calls) == 2
