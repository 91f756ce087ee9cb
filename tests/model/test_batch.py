"""The batch is a mapping that a model takes whole."""

import pytest
import torch

from mtl_nlp.model.batch import Batch, Targets


@pytest.fixture
def batch() -> Batch:
    return Batch(
        input_ids=torch.ones(2, 3, dtype=torch.long),
        attention_mask=torch.tensor([[1, 1, 1], [1, 0, 0]]),
        words=torch.full((2, 3), -1),
        sources=torch.arange(2),
        targets={"topic": Targets(rows=torch.tensor([1]), labels=torch.tensor([0]))},
    )


def test_its_keys_are_the_arguments_of_forward(batch: Batch) -> None:
    names = ["input_ids", "attention_mask", "words", "sources", "token_type_ids", "joined"]
    names.append("targets")
    assert list(batch) == names
    assert len(batch) == len(names)
    assert dict(**batch)["input_ids"] is batch.input_ids
    assert "targets" in batch
    assert "to" not in batch


def test_what_is_no_key_is_not_found(batch: Batch) -> None:
    with pytest.raises(KeyError, match="num_tokens"):
        batch["num_tokens"]


def test_padding_does_not_count_as_tokens(batch: Batch) -> None:
    assert batch.num_tokens == 4


def test_all_of_it_moves(batch: Batch) -> None:
    assert batch.to(torch.device("cpu")) is batch
    moved = batch.to(torch.device("meta"))
    assert moved.token_type_ids is None
    tensors = [moved.input_ids, moved.attention_mask, moved.words, moved.sources]
    tensors += [moved.targets["topic"].rows, moved.targets["topic"].labels]
    assert all(tensor.is_meta for tensor in tensors)
