"""How alike two texts are, by one vector for each: search, duplicates, clusters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from mtl_nlp.heads.embedding import EmbeddingHead
from mtl_nlp.ragged import Ragged
from mtl_nlp.ranking_metrics import ranking_scores, retrieval_ranks
from mtl_nlp.regression_metrics import regression_scores
from mtl_nlp.tasks.base import Decoded, Encoding, Fields, LossSum, Task, option
from mtl_nlp.tasks.labels import finite_number
from mtl_nlp.tasks.views import View
from mtl_nlp.words import Row

_SCALE = 20.0  # of cosines before they are compared, as sentence-transformers has it


@dataclass(frozen=True)
class Apart(View):
    """Both texts of a pair, each by itself; or a single text."""

    many: ClassVar[bool] = True

    def texts(self, row: Row) -> Sequence[Row]:
        """The text and, where there is one, its pair."""
        return [Row(row.words), *([] if row.pair is None else [Row(row.pair)])]


@dataclass(frozen=True, kw_only=True)
class SentenceSimilarity(Task):
    """How alike two texts are: the cosine of their embeddings.

    With ``in_batch`` a predicted value is the pair's embeddings, of length 1, (2, hidden), and what
    is right is the second text, to be found among those of all rows.

    Attributes:
        low: Least score of the training rows.
        high: Highest score of them.
    """

    type: ClassVar[str] = "sentence_similarity"
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("label",), ())
    column_meanings: ClassVar[Mapping[str, str]] = {
        "label": "number, the higher the more alike",
    }
    takes: ClassVar[tuple[tuple[str, ...], ...]] = (("text", "text_pair"),)

    criterion: Literal["cosent", "mse", "in_batch"] = option(
        "cosent",
        "pairs with a higher score get a higher cosine; mse: the cosine is the score; in_batch"
        " (always without a label): a text is nearer to its pair than to those of other rows",
    )
    pooling: Literal["mean", "cls"] = option(
        "mean", "vector of a text: mean of its tokens, or the first, cls"
    )
    normalize: bool = option(True, "whether embeddings of single texts are made of length 1")
    inputs: tuple[str, ...] = ("text", "text_pair")
    low: float = 0.0
    high: float = 1.0

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Rank correlation first; without scores, how often the pair is the nearest."""
        return ("accuracy", "mrr") if self.criterion == "in_batch" else ("spearman", "pearson")

    @property
    def logit_names(self) -> tuple[str, ...]:
        """None: the numbers of an embedding have no names."""
        return ()

    @property
    def view(self) -> View:
        """Both texts, each by itself."""
        return Apart()

    @property
    def whole_step(self) -> bool:
        """Whether its loss compares the rows of a step with each other."""
        return self.criterion != "mse"

    @property
    def own_head(self) -> str:
        """Why there is no stock head."""
        return (
            "transformers has no class for embeddings (the encoder alone is saved by"
            " model.encoder.save_pretrained(folder))"
        )

    def accepts(self, row: Row) -> bool:
        """Pairs, which get a score, and single texts, which get an embedding."""
        del row
        return True

    def learn(self, rows: Iterable[Fields], class_names: Sequence[str] | None) -> Self:
        """The task with the range of the training rows' scores, or for pairs without scores."""
        if self.labels:
            raise ValueError("labels: a score has no label names; leave them out")
        if class_names:
            raise ValueError(f"expected numbers, found the classes {', '.join(class_names)}")
        scored, numbers = False, []
        for row in rows:
            if "label" not in row:
                continue
            if self.criterion == "in_batch":
                raise ValueError(
                    "criterion: in_batch takes every row as alike and reads no scores; leave out"
                    " label, or use cosent or mse"
                )
            scored = True
            if row["label"] is not None:
                numbers.append(finite_number(row["label"]))
        if not scored:
            if self.criterion == "mse":
                raise ValueError("criterion: mse needs scores; name their column, label: COLUMN")
            return replace(self, criterion="in_batch")
        if len(set(numbers)) < 2:
            raise ValueError(
                f"expected at least two different scores in train, found {sorted(set(numbers))};"
                " check the label column"
            )
        return replace(self, low=min(numbers), high=max(numbers))

    def read(self, fields: Fields, row: Row) -> float | str | None:
        """The score; without scores the second text."""
        if self.criterion == "in_batch":
            return None if row.pair is None else row.pair.text
        return None if fields["label"] is None else finite_number(fields["label"])

    def encode(self, value: float | str, encoding: Encoding) -> float:
        """The score within the range of a cosine, see `_cosine_of`; 1 without scores."""
        del encoding
        return 1.0 if isinstance(value, str) else self._cosine_of(value)

    def collate(self, labels: np.ndarray | Ragged, seq_len: int) -> np.ndarray:
        """Scores (rows,)."""
        del seq_len
        return np.asarray(labels, dtype=np.float32)

    def build_head(self, encoder_config: PreTrainedConfig) -> nn.Module:
        """Pooling of the tokens."""
        del encoder_config
        return EmbeddingHead(self.pooling)

    def count(self, labels: Tensor) -> Tensor:
        """How many pairs have a score."""
        return (~labels.isnan()).sum()

    def loss(self, logits: Tensor, labels: Tensor) -> LossSum:
        """The criterion's loss, such that divided by the number of pairs it is that of their step.

        Shape: logits (rows, 2, hidden), labels (rows,), NaN = not labelled.
        """
        known = ~labels.isnan()
        first, second = logits[known].float().unbind(dim=1)  # (pairs, hidden)
        count = known.sum()
        if self.criterion == "in_batch":
            return LossSum(in_batch_loss(first, second), count)
        cosines, scores = F.cosine_similarity(first, second), labels[known].float()
        if self.criterion == "mse":
            return LossSum(F.mse_loss(cosines, scores, reduction="sum"), count)
        return LossSum(cosent_loss(cosines, scores) * count, count)

    def decode(self, logits: np.ndarray, encodings: Sequence[Encoding]) -> list[Decoded]:
        """The cosine of each pair, or without scores its embeddings; a single text's embedding."""
        embeddings = torch.from_numpy(logits)  # (rows, texts, hidden)
        units = F.normalize(embeddings, dim=-1)
        vectors = (units if self.normalize else embeddings)[:, 0]
        cosines = (units[:, 0] * units[:, -1]).sum(dim=-1).tolist()
        decoded = []
        for row, encoding in enumerate(encodings):
            if encoding.row.pair is None:
                vector = vectors[row].tolist()
                decoded.append(Decoded(vector, vector))
            else:
                value = units[row].numpy() if self.criterion == "in_batch" else cosines[row]
                decoded.append(Decoded(value, cosines[row]))
        return decoded

    def present(self, decoded: Decoded, row: Row) -> dict[str, Any]:
        """``{"score"}`` of a pair, ``{"embedding"}`` of a single text."""
        return {"embedding" if row.pair is None else "score": decoded.scores}

    def metrics(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, Any]:
        """Spearman and Pearson correlation of cosines and scores.

        Without scores, among the different second texts of all rows: how often a text's own is the
        nearest, and the mean of 1 / its rank.
        """
        if self.criterion != "in_batch":
            scores = regression_scores(references, predictions)
            return {name: scores[name] for name in self.metric_names}
        first: dict[str, int] = {}
        for row, text in enumerate(references):
            first.setdefault(text, row)
        numbers = {text: number for number, text in enumerate(first)}
        pairs = np.stack(predictions)  # (rows, 2, hidden)
        ranks = retrieval_ranks(
            pairs[:, 0], pairs[list(first.values()), 1], np.array([numbers[t] for t in references])
        )
        return dict(ranking_scores(ranks.tolist()))

    def occurrences(self, value: float | str) -> Iterable[str]:
        """None: a score is no label."""
        del value
        return ()

    def _cosine_of(self, score: float) -> float:
        """The training rows' range laid on [0, 1]; on [-1, 1] where it has scores below 0."""
        share = (score - self.low) / (self.high - self.low)
        return 2 * share - 1 if self.low < 0 else share


def cosent_loss(cosines: Tensor, scores: Tensor) -> Tensor:
    """How much cosines are in another order than the scores of their pairs, a scalar.

    log(1 + Σ exp(20 (c_i - c_j))) over all i, j where pair i has the lower score (Su, 2022,
    https://kexue.fm/archives/8847; Huang et al., 2024, equation 9), as in sentence-transformers.

    Args:
        cosines: Of each pair of texts, (pairs,).
        scores: What is right, (pairs,).
    """
    scaled = _SCALE * cosines
    differences = scaled[:, None] - scaled  # (pairs, pairs)
    wrong = differences.masked_fill(scores[:, None] >= scores, float("-inf"))
    return torch.cat([wrong.flatten(), wrong.new_zeros(1)]).logsumexp(dim=0)


def in_batch_loss(first: Tensor, second: Tensor) -> Tensor:
    """Cross-entropy of finding each text's pair among those of all rows, summed, in nats.

    Henderson et al. (2017, arXiv:1705.00652) with 20 times the cosine, as in sentence-transformers.

    Args:
        first: Embeddings of the texts, (pairs, hidden).
        second: Those of their pairs.
    """
    with torch.autocast(first.device.type, enabled=False):  # else bf16 products, whose scores tie
        similarity = _SCALE * F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).T
    own = torch.arange(len(first), device=first.device)
    return F.cross_entropy(similarity, own, reduction="sum")
