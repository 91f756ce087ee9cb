"""One task of a model as a stock transformers model, exact or refused."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mtl_nlp.errors import ModelError
from mtl_nlp.heads.decoder import GenerationHead
from mtl_nlp.heads.stock import StockHead, lay_anew, probe
from mtl_nlp.model.generation import stock_writer
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.tasks.text_generation import TextGeneration

_MERGED = 1e-4  # between logits of about 1, with an adapter beside the weights and within them
_MEND = "use the model as it is, with mtl_nlp's from_pretrained and pipeline"


def export_transformers(
    model: MultiTaskModel,
    task: str,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Path:
    """Save one head with its encoder as the architecture's own stock model.

    Its logits are the model's, bit for bit, which is checked before anything is written; to
    rounding where the task has an adapter, which is merged into the encoder's weights. The labels
    in its configuration are the task's ``logit_names``.

    Args:
        model: A model of this package.
        task: Which of its tasks.
        folder: Where to write; must not exist or be empty. It comes to be whole or not at all.
        tokenizer: Saved beside the model.

    Returns:
        The folder.

    Raises:
        ModelError: If there is no such task, its head is no stock head or gives other logits in
            the stock model, or the folder cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ModelError(
            f"{folder}: expected a new or an empty folder to export to, found one in use; name"
            " another or empty it"
        )
    stock = _stock_model(model, task)
    folder, named = Path(os.path.realpath(folder)), folder  # `.` and `..` have no name to write by
    writing = folder.with_name(f".{folder.name}.{os.getpid()}.writing")
    try:
        writing.mkdir(parents=True)
        stock.save_pretrained(writing)
        if tokenizer is not None:
            tokenizer.save_pretrained(writing)
        _move(writing, folder)
    except OSError as error:
        raise ModelError(f"{named} cannot be written: {error}; name another folder") from error
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    return named


def _move(writing: Path, folder: Path) -> None:
    """Put what was written in place of a folder that is new or empty."""
    if folder == Path.cwd():  # the folder one stands in stays the same
        for file in writing.iterdir():
            file.replace(folder / file.name)
        return
    if folder.exists():
        folder.rmdir()
    writing.replace(folder)


def _stock_model(model: MultiTaskModel, name: str) -> PreTrainedModel:
    if name not in model.tasks:
        raise ModelError(f"no task {name!r} to export; the model has {', '.join(model.tasks)}")
    head, task = model.heads[name], model.tasks[name]
    if isinstance(task, TextGeneration) and isinstance(head, GenerationHead):
        with _evaluating(model):
            return stock_writer(task, head.decoder, model.stock_encoder(name))
    if not isinstance(head, StockHead):
        raise ModelError(f"{_why_own(model, name)}, so it is not exported; {_MEND}")
    lay_anew(head)  # as the stock model's are, so that their last bits are equal
    stock = head.with_encoder(model.stock_encoder(name))
    if not _same_logits(model, name, head, stock):
        raise ModelError(
            f"task {name!r}: {type(stock).__name__} computes other logits than this model, so it is"
            f" not exported; {_MEND}"
        )
    return stock


def _why_own(model: MultiTaskModel, name: str) -> str:
    try:
        model.lifted_head(replace(model.tasks[name], stock=True))
    except ModelError as reason:
        return str(reason)
    return f"task {name!r}: its head is this package's own"


@torch.no_grad()
def _same_logits(model: MultiTaskModel, name: str, head: StockHead, stock: PreTrainedModel) -> bool:
    with _evaluating(model):
        batch = probe(model.encoder)
        ours = model(**batch, tasks=[name]).logits[name]
        theirs = head.logits_of(stock, batch)
        if model.sharing is None:
            return torch.equal(ours, theirs)
        return torch.allclose(ours, theirs, rtol=_MERGED, atol=_MERGED)


@contextmanager
def _evaluating(model: MultiTaskModel) -> Iterator[None]:
    """The model in evaluation mode, and then in its own again."""
    training = model.training
    try:
        model.train(False)
        yield
    finally:
        model.train(training)
