"""A model and its tokenizer together, called on texts."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import torch

from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.errors import UserError
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.limits import check_vocabulary
from mtl_nlp.model.loading import load_model, load_tokenizer
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe_values import found
from mtl_nlp.tasks.base import Task

Record = Mapping[str, Any]


class MultiTaskPipeline:
    """All tasks of a model on texts, each text encoded once.

    Args:
        model: A loaded model.
        encoder: Makes sub-words as the model was trained with.
        batch_size: Texts in one forward, at least 1.

    Raises:
        UserError: If the batch size is none.

    Attributes:
        predictor: What runs the model.
    """

    def __init__(self, model: MultiTaskModel, encoder: RowEncoder, *, batch_size: int = 32) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(
                f"batch_size: expected a whole number of texts from 1, found {found(batch_size)}"
            )
        self.predictor = Predictor(model, encoder, batch_size)

    @overload  # a str is a sequence of str, too
    def __call__(  # type: ignore[overload-overlap]
        self, inputs: str | Record, *, tasks: Sequence[str] | None = None
    ) -> dict[str, Any]: ...

    @overload
    def __call__(
        self, inputs: Sequence[str] | Sequence[Record], *, tasks: Sequence[str] | None = None
    ) -> list[dict[str, Any]]: ...

    def __call__(
        self,
        inputs: str | Record | Sequence[str] | Sequence[Record],
        *,
        tasks: Sequence[str] | None = None,
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """The predictions by task, as the transformers pipelines shape them.

        Args:
            inputs: A text, a record with ``text`` [and ``text_pair`` or ``choices``] or ``tokens``,
                or a list of either. Of a record with both the tokens are read.
            tasks: The tasks wanted; by default all whose input is given.

        Returns:
            Predictions by task for one input, or a list of such for a list.

        Raises:
            UserError: If a task is not the model's or an input is not what it needs.
        """
        given: Any = inputs  # whatever a caller hands over
        if isinstance(given, str | Mapping):
            return self.predictor.predict([_record(given)], tasks)[0]
        if isinstance(given, bytes | bytearray) or not isinstance(given, Iterable):
            return self.predictor.predict([_record(given)], tasks)
        records = [_record(one, f"row {i}") for i, one in enumerate(given)]
        return self.predictor.predict(records, tasks)


def pipeline(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | None = None,
    device: str | torch.device | None = None,
    batch_size: int = 32,
    task_types: Mapping[str, type[Task]] | None = None,
) -> MultiTaskPipeline:
    """Load a model with its tokenizer.

    Args:
        model: Folder, or Hub id (``org/name`` or ``org/name@revision``).
        revision: Branch, tag or commit on the Hub.
        token: Hub token for a private repository.
        device: Where to run; by default the GPU if there is one.
        batch_size: Texts in one forward.
        task_types: Task types of your own, by their name in the model's ``config.json``.

    Raises:
        UserError: If it cannot be loaded.
    """
    loaded = load_model(model, revision=revision, token=token, task_types=task_types)
    tokenizer = load_tokenizer(model, revision=revision, token=token)
    check_vocabulary(loaded.encoder, tokenizer)
    config = loaded.config
    encoder = RowEncoder(
        tokenizer,
        config.max_seq_length,
        config.word_pattern,
        config.join,
        config.long_text,
        config.stride,
    )
    loaded.to(device or _best_device())  # type: ignore[arg-type]  # its decorator loses the method
    return MultiTaskPipeline(loaded.train(False), encoder, batch_size=batch_size)


def _best_device() -> torch.device:
    accelerator = torch.accelerator.current_accelerator()
    return accelerator if accelerator is not None else torch.device("cpu")


def _record(given: Any, place: str = "input") -> Record:
    if isinstance(given, str):
        return {"text": given}
    if not isinstance(given, Mapping):
        raise UserError(
            f"{place}: expected a text, or a record such as {{'text': …}}, found {found(given)}; a"
            " text in bytes is decoded first, and words go as {'tokens': […]}"
        )
    return given
