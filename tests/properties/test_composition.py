"""Invariant 1: a row's logits depend neither on its company in the batch nor on padding."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import LIFTABLE, NOT_LIFTABLE, VOCABULARY, tiny_config

ROWS = st.lists(
    st.lists(st.integers(5, len(VOCABULARY) - 1), min_size=1, max_size=12), min_size=2, max_size=5
)


@cache
def _model(architecture: str) -> MultiTaskModel:
    torch.manual_seed(0)
    model = MultiTaskModel(MultiTaskConfig(tiny_config(architecture)))
    model.add_task("topic", {"type": "text_classification", "labels": ["a", "b", "c"]})
    model.add_task("ner", {"type": "token_classification", "labels": ["x"]})
    with torch.no_grad():
        for parameter in model.parameters():  # as far from zero as after training
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


def _batch(rows: list[list[int]], padding: int) -> dict[str, torch.Tensor]:
    """Rows padded to the longest and further."""
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=0)
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.nn.functional.pad(ids, (0, padding))
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    return {"input_ids": ids, "attention_mask": mask.long()}


@pytest.mark.parametrize("architecture", [*LIFTABLE, *NOT_LIFTABLE])
@settings(max_examples=12, deadline=None)
@given(rows=ROWS, padding=st.integers(0, 9))
def test_a_row_alone_has_the_logits_it_has_in_company(
    architecture: str, rows: list[list[int]], padding: int
) -> None:
    model = _model(architecture)
    with torch.no_grad():
        together = model(**_batch([[2, *row, 3] for row in rows], padding)).logits
        for i, row in enumerate(rows):
            alone = model(**_batch([[2, *row, 3]], 0)).logits
            tags = together["ner"][i, : len(row) + 2]
            assert (together["topic"][i] - alone["topic"][0]).abs().max() <= 1e-5
            assert (tags - alone["ner"][0]).abs().max() <= 1e-5
