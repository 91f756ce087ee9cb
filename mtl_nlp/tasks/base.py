"""What a task type is: everything the rest of the package asks of one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import ConfigDict
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp import recipe_values
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.labels import check_labels
from mtl_nlp.tasks.views import PLAIN, View
from mtl_nlp.vocabulary import Vocabulary
from mtl_nlp.words import Row

Fields = Mapping[str, Any]
"""The label columns of one row under the task's own names (``label``, ``tags`` …)."""


def option(default: Any, meaning: str) -> Any:
    """A field of a task type that a recipe may set, with what it means."""
    return field(default=default, metadata={"option": meaning})


@dataclass(frozen=True)
class LossSum:
    """A loss as a sum, so that the mean is taken once, over the whole optimizer step.

    Attributes:
        total: Sum over the labelled items, in nats (or the type's own unit), a scalar.
        count: How many labelled items there are (texts, words …), a scalar.
    """

    total: Tensor
    count: Tensor


@dataclass(frozen=True)
class Encoding:
    """One dataset row as the encoder read it.

    Attributes:
        row: Its strings and their words.
        token_words: Word each sub-word belongs to, negative for none, (seq_len,); of a text read in
            several windows, as `EncoderRows.joined` lines them up.
        vocabulary: The encoder's sub-words; None where the caller has none.
        input_ids: The sub-words of a drawn view as they stood there before, (seq_len,).
    """

    row: Row
    token_words: np.ndarray
    vocabulary: Vocabulary | None = None
    input_ids: np.ndarray | None = None


@dataclass(frozen=True)
class Decoded:
    """A prediction for one row.

    Attributes:
        value: In the form in which ``Task.read`` gives what is right.
        scores: Probability of each part of it, in the task type's own shape.
    """

    value: Any
    scores: Any


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What a model must know to serve one task; a frozen description without data.

    The data layer hands a task the label columns of a row under the task's own field names, so a
    task never sees a dataset's spelling. A ``ClassLabel`` arrives as its name.

    Attributes:
        name: Its key in the recipe and in the model.
        weight: Factor of its loss.
        inputs: Input columns it was trained on, one of the ways that its type ``takes``.
        stock: Whether its head is the architecture's own; False once that was found not to fit.
        labels: Label names, position = label id; for tags with a scheme the span types.
        after: Tasks before it whose predictions its head reads beside the hidden states.
        after_gradient: Whether its loss then teaches those tasks too.
        layers: Whether its head reads the encoder's last layer or a learned mix of all.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=False)

    type: ClassVar[str]
    columns: ClassVar[tuple[tuple[str, ...], ...]]
    """The label columns it reads, each way to give them a tuple."""
    column_meanings: ClassVar[Mapping[str, str]] = {}
    """What a row holds in each of them, in a few words."""
    takes: ClassVar[tuple[tuple[str, ...], ...]] = (("text", "text_pair"), ("text",), ("tokens",))
    """The input columns it reads, each way to give them a tuple, the richest first."""
    counts_by_input: ClassVar[bool] = False
    """Whether places in its columns count words of ``tokens`` but characters of ``text``, so that a
    task has one of the two in all its datasets."""
    may_take: ClassVar[tuple[str, ...]] = ()
    """Further columns that a row to be predicted may have, and that are then not predicted."""
    auto_class: ClassVar[str | None] = None
    """The transformers class whose head this is, where there is one."""
    per_token: ClassVar[bool] = False
    """Whether its logits stand for sub-words or words. Of a long text that is read in windows such
    a head is given one sequence; of others the logits of all windows are averaged."""
    judged: ClassVar[bool] = True
    """Whether its primary metric, more of which is better, counts in the mean over the tasks."""
    learns_from_words: ClassVar[bool] = False
    """Whether ``learn`` is given the `Words` of each row too, under ``words``."""
    fewest_labels: ClassVar[int] = 0
    """How many label names there must be for a head to tell something."""

    name: str
    weight: float = 1.0
    inputs: tuple[str, ...] = ("text",)
    stock: bool = True
    labels: tuple[str, ...] = ()
    after: tuple[str, ...] = option((), "tasks above it whose predictions its head reads too")
    after_gradient: bool = option(False, "whether its loss then teaches those tasks too")
    layers: Literal["last", "mix"] = option("last", "which its head reads: last, or a mix of all")

    def __post_init__(self) -> None:
        """Raise a ValueError for a name or labels that no task can have; none are yet to learn."""
        recipe_values.name(self.name)
        if self.labels:
            check_labels(self.labels, self.fewest_labels, self.type)

    @property
    @abstractmethod
    def metric_names(self) -> tuple[str, ...]:
        """The metrics that ``metrics`` gives, the primary first."""

    @property
    def primary(self) -> str:
        """The metric by which the task is judged."""
        return self.metric_names[0]

    @property
    @abstractmethod
    def logit_names(self) -> tuple[str, ...]:
        """What each logit stands for."""

    @property
    def view(self) -> View:
        """What the encoder reads of a row for it."""
        return PLAIN

    def accepts(self, row: Row) -> bool:
        """Whether it can be predicted for such a row; by default one like those of training."""
        pair = (row.pair is not None) == ("text_pair" in self.inputs)
        return pair and ("choices" not in self.inputs or bool(row.choices))

    @property
    def whole_step(self) -> bool:
        """Whether its loss compares the rows of a step with each other, so no step may be cut."""
        return False

    @property
    def own_head(self) -> str:
        """Why its options need another head than that of ``auto_class``; nothing by default."""
        return ""

    @classmethod
    def of_stock(cls, name: str, config: PreTrainedConfig) -> Self:
        """The task that a stock checkpoint of ``auto_class`` was fine-tuned for.

        Its ``logit_names`` are in the order of the checkpoint's logits.

        Raises:
            ValueError: If the checkpoint's labels or kind of problem are not this type's; says why.
        """
        del name, config
        raise ValueError(f"a {cls.type} task is not taken in from stock checkpoints")

    @abstractmethod
    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with what its training rows teach: label names where none are given.

        Args:
            rows: The label columns of all training rows of all its datasets, with their ``words``
                where the type ``learns_from_words``.
            class_names: The names of the column's ``ClassLabel``, in its order, if it is one.

        Raises:
            ValueError: If the rows teach nothing usable; the message says what and the mend.
        """

    @abstractmethod
    def read(self, fields: Fields, row: Row) -> Any:
        """What is right for a row, in the form that ``metrics`` compares; None if unlabelled.

        Raises:
            ValueError: If the label columns are not what the task needs; the message says what was
                expected and found. The data layer adds dataset, split and row.
        """

    @abstractmethod
    def encode(self, value: Any, encoding: Encoding) -> Any:
        """Label ids of a row for the loss, a number or a flat list of numbers."""

    @abstractmethod
    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """The encoded labels of several rows as one array, (rows, …)."""

    @abstractmethod
    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """A fresh head that maps ``EncoderStates`` to logits."""

    def run(self, head: nn.Module, states: EncoderStates, labels: Tensor | None) -> Tensor:
        """The head's logits for these rows; a head that is led by the labels is given them.

        Args:
            head: As `build_head` made it.
            states: Of the rows that the task speaks of.
            labels: What is right for them, as collated; None in prediction.
        """
        del labels
        logits: Tensor = head(states)
        return logits

    def distribution(self, logits: Tensor) -> Tensor:
        """The probability of each label, as another head may read it.

        Returns:
            (rows, labels), or of each sub-word (rows, seq_len, labels).
        """
        raise NotImplementedError(f"{self.type} tasks have no distribution over labels to read")

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """How far apart two logits for the rows of `loss` are, summed over the items it counts."""
        raise NotImplementedError(f"{self.type} tasks have no predictions that can be compared")

    def count(self, labels: Tensor) -> Tensor:
        """How many labelled items (texts, words …) there are in collated labels, a scalar."""
        return (labels != -100).sum()

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """The loss of the given rows as a sum and a count."""

    @property
    def tunes(self) -> bool:
        """Whether `tune` has anything to learn; by default where its type overrides it."""
        return type(self).tune is not Task.tune

    def tune(
        self, logits: np.ndarray, encodings: Sequence[Encoding], references: Sequence[Any]
    ) -> Self:
        """The task with what validation teaches its decoding (thresholds); by default itself.

        It is called before each scoring of validation, with all labelled rows of it at once, and
        the model keeps what it gives. Only a task that ``tunes`` costs that pass over the rows.
        What it gives must depend on the arguments alone, not on an earlier tuning, and must change
        neither the logits nor the loss: else a resumed training would go on differently.

        Args:
            logits: The rows' logits, (rows, …) float32, as in `decode`; where trailing sizes differ
                between batches, filled up with 0 on the right.
            encodings: Each row as the encoder read it.
            references: What is right for each row, as `read` gives it, never None.
        """
        del logits, encodings, references
        return self

    @abstractmethod
    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The prediction for each row from its logits, (rows, …) float32."""

    @abstractmethod
    def present(self, decoded: Decoded, row: Row) -> Any:
        """A prediction as users see it: JSON values, shaped as transformers pipelines do."""

    @abstractmethod
    def metrics(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, Any]:
        """Scores of predicted against right values; ``metric_names`` are its keys."""

    def hub_values(
        self, predictions: Sequence[Any], references: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Predicted and right values as metrics of the Hub take them, by default as they are."""
        return list(predictions), list(references)

    @abstractmethod
    def occurrences(self, value: Any) -> Iterable[str]:
        """The labels in a right value, once per occurrence, for counting."""

    def diagnose(self, rows: Mapping[str, Mapping[str, Iterable[tuple[Fields, Row]]]]) -> list[str]:
        """Warnings about whole columns; none by default.

        Args:
            rows: The label columns and the words of every row, in order, by dataset and split.
        """
        del rows
        return []
