"""A run of a single task is the computation that transformers itself would do."""

from pathlib import Path

import pytest
import torch
import transformers
from torch import nn
from transformers import DataCollatorForTokenClassification

from mtl_nlp.data.collator import Collator
from mtl_nlp.data.encoder_rows import EncoderRows
from mtl_nlp.data.prepare import prefix_of
from mtl_nlp.heads.stock import StockHead
from mtl_nlp.tasks.views import PLAIN
from mtl_nlp.training.objective import Objective, count_items, step_factors
from mtl_nlp.training.preparation import prepare
from tests.runs import tiny_model, tiny_recipe
from tests.tiny import LIFTABLE, tiny_encoder


def stock_loss(stock: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    loss: torch.Tensor = stock(**batch).loss
    return loss


@pytest.mark.parametrize("task", ["topic", "ner"])
@pytest.mark.parametrize("architecture", sorted(LIFTABLE))
def test_loss_and_gradients_are_those_of_the_stock_model(
    tmp_path: Path, architecture: str, task: str
) -> None:
    tiny_recipe(tmp_path)
    tiny_encoder(tmp_path / "other", architecture)
    recipe = tiny_recipe(tmp_path, encoder=str(tmp_path / "other"))
    recipe = recipe.model_copy(
        update={
            "datasets": {"news": recipe.datasets["news"]},
            "tasks": {task: recipe.tasks[task].model_copy(update={"dataset": "news", "weight": 1})},
        }
    )
    prepared = prepare(recipe)
    model = tiny_model(prepared).train()
    head = model.heads[task]
    assert isinstance(head, StockHead)
    stock = head.with_encoder(model.encoder).train()

    rows = prepared.train["news"].take(torch.arange(8).numpy())
    batch = Collator(model.tasks, prepared.encoder.tokenizer.pad_token_id).batch([rows])
    counts = count_items(model.tasks, [batch])
    loss, _ = Objective(model)(batch, step_factors(model.tasks, counts, {task: 1.0}))
    loss.backward()

    # Their own collation, from the encoded rows.
    columns = EncoderRows.from_arrow(rows, prefix_of(PLAIN)).columns
    inputs = {name: column.lists() for name, column in columns.items() if name != "words"}
    features = [
        {name: column[i] for name, column in inputs.items()} | {"labels": row[f"labels:{task}"]}
        for i, row in enumerate(rows.to_pylist())
    ]
    tokenizer = prepared.encoder.tokenizer
    collate = (
        DataCollatorForTokenClassification(tokenizer)
        if task == "ner"
        else transformers.DataCollatorWithPadding(tokenizer)
    )
    theirs = stock_loss(stock, dict(collate(features)))
    theirs.backward()

    torch.testing.assert_close(loss, theirs, rtol=1e-6, atol=0)
    ours = {f"{head.prefix}.{n}": p.grad for n, p in model.encoder.named_parameters()}
    ours |= {n: p.grad for n, p in head.stock.named_parameters()}
    learned = {name: p.grad for name, p in stock.named_parameters() if p.grad is not None}
    assert {name for name, gradient in ours.items() if gradient is not None} == learned.keys()
    for name, gradient in learned.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-7)
