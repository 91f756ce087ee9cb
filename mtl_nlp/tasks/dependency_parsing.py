"""The head of every word and its relation to it: one tree per sentence."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from mtl_nlp.heads.biaffine import BiaffineHead
from mtl_nlp.heads.linear import hidden_dropout
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, option
from mtl_nlp.tasks.class_loss import ClassTask, softmax_loss
from mtl_nlp.tasks.divergence import softmax_divergence
from mtl_nlp.tasks.labels import label_name, sorted_labels, whole_number
from mtl_nlp.tasks.places import at_their_numbers
from mtl_nlp.tasks.trees import best_tree, tree_problem
from mtl_nlp.words import Row


@dataclass(frozen=True)
class Tree:
    """A sentence's dependencies, right or predicted.

    Attributes:
        heads: Of each word, counted from 1; 0 is the root.
        deprels: The relation of each word to its head.
    """

    heads: tuple[int, ...]
    deprels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DependencyParsing(ClassTask):
    """One tree with a single root word over the words of a row.

    The labels are its relations, and their options are of these alone, not of the arcs.
    """

    type: ClassVar[str] = "dependency_parsing"
    per_token: ClassVar[bool] = True
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("heads", "deprels"),)
    column_meanings: ClassVar[Mapping[str, str]] = {
        "heads": "one number per word: its head, counted from 1, 0 = root",
        "deprels": "one relation to the head per word",
    }
    fewest_labels: ClassVar[int] = 1

    pooling: Literal["first", "last", "mean"] = option("mean", "which sub-words stand for a word")
    commonest: str = ""  # the label of words the encoder does not see
    root_label: str = ""  # that of a root word which it does not see

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Labelled and unlabelled attachment score."""
        return ("las", "uas")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The relations."""
        return self.labels

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {label: i for i, label in enumerate(self.labels)}

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with its relations, and the commonest below the root and below words."""
        below_root: Counter[str] = Counter()
        below_words: Counter[str] = Counter()
        for row in rows:
            tree = _tree(row, class_names or self.labels)
            for head, label in zip(tree.heads, tree.deprels, strict=True) if tree else ():
                (below_words if head else below_root)[label] += 1
        counts = below_root + below_words
        labels = self.labels or tuple(class_names or sorted_labels(counts))
        if not labels:
            raise ValueError("expected some trees in train, found none; check the columns")
        root_label, commonest = (
            (counter or counts).most_common(1)[0][0] if counts else labels[0]
            for counter in (below_root, below_words)
        )
        task = replace(self, labels=labels, root_label=root_label, commonest=commonest)
        return task.with_weights(counts)

    def read(self, fields: Fields, row: Row) -> Tree | None:
        """The tree."""
        tree = _tree(fields, self.labels)
        if tree is None:
            return None
        if len(tree.heads) != len(row.words):
            raise ValueError(
                f"{len(row.words)} words but {len(tree.heads)} heads; give exactly one per word"
            )
        if problem := tree_problem(tree.heads):
            raise ValueError(problem)
        return tree

    def encode(self, value: Tree, encoding: Encoding) -> list[int]:
        """Head and relation of each word in turn (at most seq_len words).

        Both are -100 where the encoder sees not both words.
        """
        seen = set(at_their_numbers(encoding).tolist())
        labels = []
        pairs = zip(value.heads, value.deprels, strict=True)
        for word, (head, label) in enumerate(pairs):
            if word in seen and (head == 0 or head - 1 in seen):
                labels += [head, self._ids.get(label, -100)]
            else:
                labels += [-100, -100]
        return labels[: 2 * len(encoding.token_words)]

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """Head and relation of word ``w`` at ``[:, w]``, (rows, seq_len, 2)."""
        assert isinstance(labels, Ragged)
        return labels.pad(2 * seq_len, -100).reshape(len(labels), seq_len, 2)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """Biaffine scores of pairs of words."""
        return BiaffineHead(
            encoder_config.hidden_size,
            len(self.labels),
            pooling=self.pooling,
            dropout=hidden_dropout(encoder_config),
        )

    def count(self, labels: Tensor) -> Tensor:
        """How many words have a head, a scalar."""
        return (labels[..., 0] != -100).sum()

    def divergence(self, one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """Of the distributions over heads and over relations to the right heads, over words."""
        heads, relations = labels.unbind(dim=-1)  # (rows, seq_len)
        of_heads = softmax_divergence(one[:, :, 0], other[:, :, 0], heads != -100)
        one, other = _at_right_head(one, heads), _at_right_head(other, heads)
        return of_heads + softmax_divergence(one, other, relations != -100)

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """Cross-entropy in nats of the heads, and of the relations to the right heads.

        Summed over labelled words, with their number.

        Shape: logits (rows, seq_len, 1 + num_labels, seq_len + 1), labels (rows, seq_len, 2),
            -100 = not labelled.
        """
        heads, relations = labels.unbind(dim=-1)  # (rows, seq_len)
        at_right_head = _at_right_head(logits, heads)
        total = softmax_loss(logits[:, :, 0].flatten(0, 1), heads.flatten())
        total = total + self.class_loss(at_right_head.flatten(0, 1), relations.flatten())
        return LossSum(total, self.count(labels))

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The best tree with one root word, then the likeliest relation of each arc.

        Scores are the probability of each word's head times that of its relation.
        """
        return [
            self._decode_row(scores, encoding)
            for scores, encoding in zip(logits, encodings, strict=True)
        ]

    def present(self, decoded: Decoded, row: Row) -> dict[str, Any]:
        """``{"words", "heads", "deprels"}``."""
        tree = decoded.value
        words = row.words.strings()
        return {"words": words, "heads": list(tree.heads), "deprels": list(tree.deprels)}

    def metrics(self, predictions: Sequence[Tree], references: Sequence[Tree]) -> dict[str, Any]:
        """The shares of words with the right head, and with the right relation to it as well.

        As in the scorer of the CoNLL 2018 shared task all words count, punctuation too, and of a
        relation only the universal part, before a colon.
        """
        words = arcs = both = 0
        for right, predicted in zip(references, predictions, strict=True):
            for word, head in enumerate(right.heads):
                found = predicted.heads[word] == head
                label, guess = right.deprels[word], predicted.deprels[word]
                words, arcs = words + 1, arcs + found
                both += found and label.split(":")[0] == guess.split(":")[0]
        return {"las": both / max(words, 1), "uas": arcs / max(words, 1)}

    def occurrences(self, value: Tree) -> Iterable[str]:
        """The relations."""
        return value.deprels

    def _decode_row(self, logits: np.ndarray, encoding: Encoding) -> Decoded:
        words, seen = len(encoding.row.words), at_their_numbers(encoding)
        own = logits[seen]  # (words seen, 1 + num_labels, seq_len + 1)
        arcs = own[:, 0][:, [0, *seen + 1]].astype(np.float64)
        local = best_tree(arcs)
        heads = np.concatenate([[0], seen + 1])[local]
        relations = own[np.arange(len(seen)), 1:, heads]  # (words seen, num_labels)
        # Words that the encoder misses stand under the root's word; the first is that word where it
        # sees none.
        top = int(seen[local == 0][0]) if len(seen) else 0
        tree_heads, labels = np.full(words, top + 1), [self.commonest] * words
        tree_heads[top], labels[top] = 0, self.root_label
        tree_heads[seen] = heads
        for word, relation in zip(seen, relations.argmax(axis=1), strict=True):
            labels[word] = self.labels[relation]
        scores = np.zeros(words)
        scores[seen] = _softmax(arcs)[np.arange(len(seen)), local] * _softmax(relations).max(axis=1)
        return Decoded(Tree(tuple(tree_heads.tolist()), tuple(labels)), scores)


def _tree(fields: Fields, labels: Sequence[str]) -> Tree | None:
    """Heads and relations as they are given, equally many; None where both are missing."""
    heads, deprels = fields["heads"], fields["deprels"]
    if heads is None and deprels is None:
        return None
    if not isinstance(heads, list) or not isinstance(deprels, list):
        raise ValueError(
            "expected two lists with a head and a deprel for each word, found"
            f" heads {heads!r:.40} and deprels {deprels!r:.40}"
        )
    if len(heads) != len(deprels):
        raise ValueError(
            f"{len(heads)} heads but {len(deprels)} deprels; give one of each per word"
        )
    return Tree(tuple(map(_head, heads)), tuple(label_name(label, labels) for label in deprels))


def _head(value: Any) -> int:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if (number := whole_number(value)) is not None:
        return number
    raise ValueError(
        f"expected the number of a head's word, or 0 for the root, found {value!r:.80}"
    )


def _at_right_head(logits: Tensor, heads: Tensor) -> Tensor:
    """The logits of the relations to the right heads (rows, seq_len), with num_labels more."""
    right = heads.clamp(min=0)[:, :, None, None].expand(-1, -1, logits.shape[2] - 1, 1)
    return logits[:, :, 1:].gather(3, right).squeeze(3)


def _softmax(logits: np.ndarray) -> np.ndarray:
    probabilities: np.ndarray = torch.from_numpy(logits).softmax(dim=-1).numpy()
    return probabilities
