from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_nlp.data.collator import Collator
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks import build_task
from mtl_nlp.training.objective import Objective, count_items, row_shares, step_factors
from mtl_nlp.training.preparation import Prepared, prepare
from tests.runs import tiny_model, tiny_recipe

TASK = build_task("a", "text_classification", {"labels": ("x", "y"), "weight": 0.5}, where="a")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("objective")))


@pytest.fixture(scope="module")
def model(prepared: Prepared) -> MultiTaskModel:
    return tiny_model(prepared)


@pytest.fixture
def batch_of(prepared: Prepared, model: MultiTaskModel) -> Iterator[Callable[..., Batch]]:
    def make(**rows: list[int]) -> Batch:
        tables = [prepared.train[name].take(np.array(of)) for name, of in rows.items()]
        return Collator(model.tasks, 0).batch(tables)

    yield make
    model.zero_grad()


def rows_without_label(prepared: Prepared) -> list[int]:
    labelled = prepared.train["chat"].labelled
    return np.flatnonzero(~labelled["intent"] & ~labelled["ner"]).tolist()


def test_the_loss_is_the_sum_of_the_tasks_sums_by_their_factors(
    model: MultiTaskModel, batch_of: Callable[..., Batch]
) -> None:
    batch = batch_of(chat=[0, 1, 2, 3, 4], news=[0, 1])
    factors = {"intent": 0.5, "ner": 0.25, "topic": 2.0}
    loss, sums = Objective(model).eval()(batch, factors)
    assert sums.keys() == factors.keys()
    torch.testing.assert_close(loss, sum(factors[name] * one for name, one in sums.items()))
    assert loss.requires_grad
    assert not any(one.requires_grad for one in sums.values())


def test_a_piece_without_a_label_has_a_backward_and_no_gradient(
    prepared: Prepared, model: MultiTaskModel, batch_of: Callable[..., Batch]
) -> None:
    batch = batch_of(chat=rows_without_label(prepared)[:2])
    assert not batch.targets
    loss, sums = Objective(model)(batch, dict.fromkeys(model.tasks, 1.0))
    loss.backward()
    assert (loss.item(), sums) == (0.0, {})
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_items_are_counted_over_all_pieces_and_every_task(
    prepared: Prepared, model: MultiTaskModel, batch_of: Callable[..., Batch]
) -> None:
    batches = [batch_of(chat=[0, 1, 2, 3]), batch_of(chat=[4, 5], news=[0, 1, 2])]
    counts = count_items(model.tasks, batches)
    assert counts["intent"] == prepared.train["chat"].labelled["intent"][:6].sum()
    assert counts["topic"] == 3
    words = sum(int((b.targets["ner"].labels != -100).sum()) for b in batches)
    assert counts["ner"] == words
    assert count_items(model.tasks, []) == {"intent": 0, "ner": 0, "topic": 0}


def test_a_task_has_the_rows_of_all_its_datasets() -> None:
    datasets = {"a": ["x"], "b": ["x", "y"], "c": ["z"]}
    assert row_shares({"x": 6, "y": 2}, datasets) == {"a": 0.75, "b": 1.0, "c": 0.0}


@given(st.lists(st.integers(0, 50), min_size=3, max_size=3))
def test_factors_undo_the_counts(counts: list[int]) -> None:
    tasks = dict.fromkeys("abc", TASK)
    shares = {"a": 0.5, "b": 0.25, "c": 0.0}
    by_task = dict(zip("abc", counts, strict=True))
    factors = step_factors(tasks, by_task, shares)
    for name, count in by_task.items():
        expected = TASK.weight * shares[name] if count else 0.0
        assert factors[name] * count == pytest.approx(expected)
