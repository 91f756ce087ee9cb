"""The dictionary form of every word, as an edit script that makes it of the word."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.linear import hidden_dropout
from mtl_nlp.heads.word_scores import WordHead
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, option
from mtl_nlp.tasks.class_loss import ClassTask
from mtl_nlp.tasks.divergence import softmax_divergence
from mtl_nlp.tasks.edit_scripts import apply_script, edit_script
from mtl_nlp.words import Row


@dataclass(frozen=True)
class Lemmas:
    """The words of a row with their lemmas, right or predicted.

    Attributes:
        words: As the encoder read them.
        lemmas: One per word; None for a word without a label.
    """

    words: tuple[str, ...]
    lemmas: tuple[str | None, ...]


@dataclass(frozen=True, kw_only=True)
class Lemmatization(ClassTask):
    """A lemma per word; the labels are the edit scripts of train, the commonest first."""

    type: ClassVar[str] = "lemmatization"
    per_token: ClassVar[bool] = True
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("lemmas",),)
    column_meanings: ClassVar[Mapping[str, str]] = {"lemmas": "one lemma per word"}
    learns_from_words: ClassVar[bool] = True
    fewest_labels: ClassVar[int] = 1

    pooling: Literal["first", "last", "mean"] = option("mean", "which sub-words stand for a word")
    min_count: Annotated[int, Field(ge=1)] = option(
        2, "edit scripts that fewer words of train have are left out"
    )

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Accuracy over labelled words."""
        return ("accuracy",)

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The edit scripts."""
        return self.labels

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {script: i for i, script in enumerate(self.labels)}

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its edit scripts and their weights; all scripts where none is common."""
        del class_names
        for script in self.labels:
            apply_script(script, "")  # refuses what is no script
        if self.labels and self.class_weights != "balanced":
            return self
        counts: Counter[tuple[str, str]] = Counter()  # of words with their lemmas
        for row in rows:
            words, lemmas = row["words"].strings(), _lemmas(row["lemmas"])
            if lemmas is not None:
                _check_number(words, lemmas)
                counts.update((w, lemma) for w, lemma in zip(words, lemmas, strict=True) if lemma)
        task = self if self.labels else replace(self, labels=self._common_scripts(counts))
        if task.class_weights != "balanced":
            return task
        scripts: Counter[str] = Counter()
        for pair, number in counts.items():
            if (known := task._script(*pair)) is not None:
                scripts[known] += number
        return task.with_weights(scripts)

    def read(self, fields: Fields, row: Row) -> Lemmas | None:
        """The words with their lemmas."""
        lemmas = _lemmas(fields["lemmas"])
        if lemmas is None:
            return None
        words = row.words.strings()
        _check_number(words, lemmas)
        return Lemmas(tuple(words), tuple(lemmas))

    def encode(self, value: Lemmas, encoding: Encoding) -> list[int]:
        """Script ids of the words (at most seq_len); -100 where none fits or nothing is seen."""
        ids = [
            -100 if script is None else self._ids[script]
            for script in self._scripts(value)[: len(encoding.token_words)]
        ]
        seen = np.isin(np.arange(len(ids)), encoding.token_words)
        labels: list[int] = np.where(seen, ids, -100).astype(np.int64).tolist()
        return labels

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """Script ids (rows, seq_len), those of word ``w`` at ``[:, w]``."""
        assert isinstance(labels, Ragged)
        return labels.pad(seq_len, -100)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """A linear one on every word."""
        return WordHead(
            encoder_config.hidden_size,
            len(self.labels),
            pooling=self.pooling,
            dropout=hidden_dropout(encoder_config),
        )

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the distributions over scripts, summed over labelled words."""
        return softmax_divergence(one, other, labels != -100)

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Cross-entropy in nats, summed over labelled words, with their number.

        Shape: logits (rows, seq_len, num_labels), labels (rows, seq_len), -100 = not labelled.
        """
        total = self.class_loss(logits.flatten(0, 1), labels.flatten())
        return LossSum(total, self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The lemma by the likeliest script that fits each word, and that script's probability."""
        probabilities = torch.from_numpy(logits).softmax(dim=-1).numpy()
        return [
            self._decode_row(scores, encoding)
            for scores, encoding in zip(probabilities, encodings, strict=True)
        ]

    def present(self, decoded: Decoded, row: Row) -> dict[str, Any]:
        """``{"words", "lemmas"}``."""
        return {"words": row.words.strings(), "lemmas": list(decoded.value.lemmas)}

    def metrics(
        self, predictions: Sequence[Lemmas], references: Sequence[Lemmas]
    ) -> dict[str, Any]:
        """The share of labelled words whose lemma is right, whatever its script."""
        hits = [
            guess == lemma
            for right, predicted in zip(references, predictions, strict=True)
            for lemma, guess in zip(right.lemmas, predicted.lemmas, strict=True)
            if lemma is not None
        ]
        return {"accuracy": sum(hits) / len(hits) if hits else 0.0}

    def occurrences(self, value: Lemmas) -> Iterable[str]:
        """The scripts of the words; not of those that no script of train brings to their lemma."""
        return [script for script in self._scripts(value) if script is not None]

    def diagnose(self, rows: Mapping[str, Mapping[str, Iterable[tuple[Fields, Row]]]]) -> list[str]:
        """How many lemmas of each split no script makes."""
        warnings = []
        for dataset, splits in rows.items():
            for split, labelled in splits.items():
                words, lost = 0, []
                for fields, row in labelled:
                    value = self.read(fields, row)
                    if value is None:
                        continue
                    given = zip(value.words, value.lemmas, self._scripts(value), strict=True)
                    known = [(w, lemma, s) for w, lemma, s in given if lemma is not None]
                    words += len(known)
                    lost += [f"{w!r} to {lemma!r}" for w, lemma, s in known if s is None]
                if lost:
                    effect = "are not learned" if split == "train" else "count as errors"
                    warnings.append(
                        f"task {self.name!r}, dataset {dataset!r}, split {split}: {len(lost)} of"
                        f" {words} words have a lemma that no edit script makes and {effect}, the"
                        f" first is {lost[0]}"
                    )
        return warnings

    def _common_scripts(self, counts: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
        """The scripts that so many words of train have, the commonest first."""
        if not counts:
            raise ValueError("expected some lemmas in train, found none; check the column")
        scripts: Counter[str] = Counter()
        for pair, number in counts.items():
            scripts[edit_script(*pair)] += number
        ranked = sorted(scripts, key=lambda script: (-scripts[script], script))
        return tuple([one for one in ranked if scripts[one] >= self.min_count] or ranked)

    def _scripts(self, value: Lemmas) -> list[str | None]:
        """The script of each word; None where there is no lemma or no script makes it."""
        pairs = zip(value.words, value.lemmas, strict=True)
        return [None if lemma is None else self._script(word, lemma) for word, lemma in pairs]

    def _script(self, word: str, lemma: str) -> str | None:
        script = edit_script(word, lemma)
        if script in self._ids:
            return script
        # A rarer script that was left out may have a commoner one that does the same.
        return next((one for one in self.labels if apply_script(one, word) == lemma), None)

    def _decode_row(self, probabilities: np.ndarray, encoding: Encoding) -> Decoded:
        words, length = encoding.row.words.strings(), len(encoding.token_words)
        seen = {int(word) for word in encoding.token_words if word < length}
        lemmas, scores = [], np.zeros(len(words))
        for place, word in enumerate(words):
            own = probabilities[place] if place in seen else None
            lemma, script = self._first_fit(word, _best_first(own, len(self.labels)))
            lemmas.append(lemma)
            if own is not None and script is not None:
                scores[place] = own[script]
        return Decoded(Lemmas(tuple(words), tuple(lemmas)), scores)

    def _first_fit(self, word: str, ranks: Iterable[int]) -> tuple[str, int | None]:
        """The lemma by the first of the scripts that fits; the word itself where none does."""
        for script in ranks:
            if (lemma := apply_script(self.labels[script], word)) is not None:
                return lemma, script
        return word, None


def _best_first(probabilities: np.ndarray | None, number: int) -> Iterator[int]:
    """Scripts by falling probability; the commonest first for a word that the encoder missed."""
    if probabilities is None:
        yield from range(number)
    else:
        yield int(probabilities.argmax())  # nearly always the one, which spares the sorting
        yield from np.argsort(-probabilities, kind="stable").tolist()


def _lemmas(value: Any) -> list[str | None] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError(f"expected a list of lemmas, one per word, found {value!r:.80}")
    for lemma in value:
        if lemma is not None and (not isinstance(lemma, str) or not lemma.strip()):
            raise ValueError(
                f"expected a lemma or null, found {lemma!r}; null is for a word without a label"
            )
    return value


def _check_number(words: Sequence[str], lemmas: Sequence[str | None]) -> None:
    if len(words) != len(lemmas):
        raise ValueError(
            f"{len(words)} words but {len(lemmas)} lemmas; give exactly one lemma per word"
        )
