"""A linear-chain conditional random field over the words of a row (Lafferty et al., 2001).

The score of a row's tags is the sum of every word's own logit for its tag, of a learned number for
every pair of neighbours, and of one for the first and one for the last tag. The loss is minus the
log of their share among all sequences of tags.

A row's words stand first, and ``labels`` (rows, words) say what is known of them: a tag's id;
``ANY`` for a word that may have any tag, which is summed over, so that it neither rewards nor
punishes one (Tsuboi et al., 2008); -100 behind the last word.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.word_scores import WordHead
from mtl_nlp.heads.words import Pooling

ANY = -1
"""The label of a word of which nothing is known."""

_NEVER = -1e12  # far below any sum of scores, and a thousand times it is still finite in float32
_MOST = 1e6  # a score beyond it is taken for it when tags are sought


class CrfHead(nn.Module):
    """Scores of the words' tags, and of tags that stand side by side, first and last.

    Loss and decoding are given logits alone, so the scores of neighbours come with them.

    Args:
        hidden: Width of the encoder's last layer, in features.
        num_labels: How many tags there are.
        pooling: Which of a word's sub-words stand for it.
        dropout: Probability in [0, 1) of zeroing a feature, in training only.
    Shape: returns logits (rows, seq_len + num_labels + 2, num_labels): those of word ``w`` at
        ``[:, w]``, 0 for a word without a sub-word; then, the same in every row, the scores of the
        tag in the column right after each tag; of every tag on the first word; on the last word.
    """

    def __init__(self, hidden: int, num_labels: int, *, pooling: Pooling, dropout: float) -> None:
        super().__init__()
        self.words = WordHead(hidden, num_labels, pooling=pooling, dropout=dropout)
        # An embedding, since transformers initialises those when a model is loaded.
        self.moves = nn.Embedding(num_labels + 2, num_labels)

    def forward(self, states: EncoderStates) -> Tensor:
        """Logits (rows, seq_len + num_labels + 2, num_labels)."""
        logits = self.words(states)  # (rows, seq_len, num_labels)
        moves = self.moves.weight.expand(len(logits), -1, -1)
        return torch.cat([logits, moves], dim=1)


def crf_loss(logits: Tensor, labels: Tensor, allowed: Tensor) -> Tensor:
    """Minus the log-probability of what is known of the rows' tags, in nats, summed over rows.

    Args:
        logits: As `CrfHead` gives them, (rows, seq_len + num_labels + 2, num_labels).
        labels: What is known of each word's tag, (rows, seq_len).
        allowed: Which neighbours, first and last tags there may be, laid out as behind the logits
            of the words, (num_labels + 2, num_labels), boolean; what is known must be possible.

    Returns:
        The sum, a scalar; a row of which nothing is known adds exactly 0.
    """
    width = max(1, int((labels != -100).any(dim=0).sum()))
    labels = labels[:, :width]
    emissions, moves = _parts(_precise(logits), width, allowed)
    emissions = emissions.log_softmax(dim=-1)  # changes no share, and keeps the sums small
    both = torch.cat([emissions, _held(emissions, labels)])
    totals = _total(both, (labels != -100).repeat(2, 1), moves, _log_sum)
    losses = totals[: len(labels)] - totals[len(labels) :]  # (rows,)
    return torch.where((labels >= 0).any(dim=1), losses, 0.0).sum().float()


def crf_decode(logits: Tensor, labels: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """The best tags of each row (Viterbi, 1967) among those that what is known admits.

    Both answers are derivatives by the words' logits: that of the highest score of a sequence is 1
    where the best sequence passes, that of the log of the sum over all is a tag's probability
    (Eisner, 2016, "Inside-outside and forward-backward algorithms are just backprop").

    Args:
        logits: As `CrfHead` gives them, (rows, seq_len + num_labels + 2, num_labels). With NaN
            (taken as the worst) or infinities the tags are allowed ones all the same.
        labels: What is known of each word's tag, (rows, words).
        allowed: As for `crf_loss`.

    Returns:
        Each word's tag, (rows, words), and its probability over all sequences, (rows, words).
    """
    with torch.inference_mode(False), torch.enable_grad():
        finite = _precise(logits).nan_to_num(nan=-_MOST).clamp(-_MOST, _MOST)
        emissions, moves = _parts(finite, labels.shape[1], allowed)
        emissions = _held(emissions, labels).detach().requires_grad_()
        totals = [_total(emissions, labels != -100, moves, r) for r in (_highest, _log_sum)]
        (passes,) = torch.autograd.grad(totals[0].sum(), emissions)  # (rows, words, num_labels)
        (shares,) = torch.autograd.grad(totals[1].sum(), emissions)  # (rows, words, num_labels)
    tags = passes.argmax(dim=-1)
    return tags, shares.gather(2, tags.unsqueeze(2)).squeeze(2).clamp(0.0, 1.0)


def _precise(logits: Tensor) -> Tensor:
    """In float64, where sums of exponentials neither vanish nor overflow; MPS has only float32."""
    return logits.float() if logits.device.type == "mps" else logits.double()


def _parts(logits: Tensor, width: int, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """The first words' logits, (rows, width, num_labels), and the scores of allowed neighbours.

    The latter, (num_labels + 2, num_labels), are those of the first row, as of any other; 0 where
    there are no rows.
    """
    num_moves = logits.shape[-1] + 2
    moves = logits[:1, -num_moves:].sum(dim=0).masked_fill(~allowed, _NEVER)
    return logits[:, :-num_moves][:, :width], moves


def _held(emissions: Tensor, labels: Tensor) -> Tensor:
    """The words' logits, where other tags than the known ones are out of the question."""
    tags = torch.arange(emissions.shape[-1], device=emissions.device)
    known = labels.unsqueeze(2)
    return emissions.masked_fill((known >= 0) & (known != tags), _NEVER)


def _total(
    emissions: Tensor, words: Tensor, moves: Tensor, join: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The scores of all sequences of tags, brought to one number a row, (rows,).

    Args:
        emissions: (rows, width, num_labels), width at least 1.
        words: Where there is a word, (rows, width), boolean; a row's words stand first.
        moves: (num_labels + 2, num_labels).
        join: Takes what ends in each tag, (rows, num_labels), one move further, (num_labels, n), to
            (rows, n): to the highest sum, or to the log of the sum of all exponentials (the
            forward algorithm).
    """
    step, first, last = moves[:-2], moves[-2], moves[-1]
    total = first + emissions[:, 0]  # (rows, num_labels): of what ends at this word in that tag
    for word in range(1, emissions.shape[1]):
        further = join(total, step) + emissions[:, word]  # (rows, num_labels)
        total = torch.where(words[:, word, None], further, total)
    return join(total, last.unsqueeze(1)).squeeze(1)


def _highest(total: Tensor, step: Tensor) -> Tensor:
    return (total.unsqueeze(2) + step).max(dim=1).values


def _log_sum(total: Tensor, step: Tensor) -> Tensor:
    """By a product of matrices, which for many tags is far cheaper than (rows, tags, tags) logs."""
    peak, top = total.detach().amax(dim=1, keepdim=True), step.detach().max()
    sums = (total - peak).exp() @ (step - top).exp()  # (rows, n)
    # What is smaller than any number is taken for the smallest: it is out of the question anyway.
    return peak + top + sums.clamp(min=torch.finfo(sums.dtype).tiny).log()
