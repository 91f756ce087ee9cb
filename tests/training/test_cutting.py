"""Where a step is cut, tests/data/test_micro_batches.py tells; here is what is made of it."""

import numpy as np
import pytest
import torch

from mtl_nlp.data.collator import Collator
from mtl_nlp.errors import UserError
from mtl_nlp.tasks import build_task
from mtl_nlp.training.cutting import Cutting, forward_cost
from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.training_data import TrainingData
from tests.runs import tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("cutting"), training__micro_batch_size=3))


@pytest.fixture(scope="module")
def comparing(prepared: Prepared) -> Collator:
    """Of a task that compares all rows of a step."""
    return Collator({"alike": build_task("alike", "sentence_similarity", {}, where="alike")}, 0)


def cutting(
    prepared: Prepared, rank: int = 0, world_size: int = 1, collator: Collator | None = None
) -> Cutting:
    return Cutting(
        prepared.recipe,
        TrainingData(prepared.train, prepared.datasets_of_tasks(), []),
        collator or Collator(prepared.tasks, 0),
        rank=rank,
        world_size=world_size,
        forward_cost=forward_cost(torch.device("cpu"), packed=False),
        copies=lambda tasks: 1,
    )


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_pieces_of_all_processes_are_the_step(prepared: Prepared, world_size: int) -> None:
    plan = prepared.mixture().plan(0)
    pieces = [p for r in range(world_size) for p in cutting(prepared, r, world_size).pieces(plan)]
    assert all(0 < sum(map(len, piece.values())) <= 3 for piece in pieces)
    for name, rows in plan.rows.items():
        found = np.concatenate([piece[name] for piece in pieces if name in piece])
        assert sorted(found) == sorted(rows)


def test_a_batch_has_the_rows_of_its_piece(prepared: Prepared) -> None:
    plan, cut = prepared.mixture().plan(0), cutting(prepared)
    for piece, batch in zip(cut.pieces(plan), cut.batches(plan), strict=True):
        tokens = [prepared.train[name].lengths[rows] for name, rows in piece.items()]
        assert batch.attention_mask.sum(dim=1).tolist() == np.concatenate(tokens).tolist()


def test_a_step_whose_rows_are_compared_is_not_cut(prepared: Prepared, comparing: Collator) -> None:
    assert cutting(prepared).forward_cost < cutting(prepared, collator=comparing).forward_cost
    with pytest.raises(UserError, match=r"'alike' compares all rows of a step, and 2 .* with one"):
        cutting(prepared, 1, 2, comparing)


def test_each_process_must_have_a_row(prepared: Prepared) -> None:
    with pytest.raises(UserError, match=r"batch_size: 16 rows cannot be shared among 17 processes"):
        cutting(prepared, 0, 17)


def test_a_further_forward_costs_least_on_a_cpu_that_computes_padding() -> None:
    costs = [
        forward_cost(torch.device(device), packed=packed)
        for device, packed in (("cpu", False), ("cpu", True), ("cuda", False), ("cuda", True))
    ]
    assert costs[0] < min(costs[1:])
