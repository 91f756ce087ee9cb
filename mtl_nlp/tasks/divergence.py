"""How far two predictions for the same items are from each other.

The symmetric divergence of Kullback and Leibler (1951), KL(p || q) + KL(q || p), in nats, which is
Σ (p - q)(log p - log q). It is computed in float32 and summed over the labelled items.
"""

from torch import Tensor


def softmax_divergence(one: Tensor, other: Tensor, known: Tensor) -> Tensor:
    """Of distributions over labels, a scalar.

    Args:
        one: Logits, (…, labels).
        other: The same items' other logits, (…, labels).
        known: Which items count, (…).
    """
    first, second = one.float().log_softmax(dim=-1), other.float().log_softmax(dim=-1)
    each = ((first.exp() - second.exp()) * (first - second)).sum(dim=-1)
    return each.masked_fill(~known, 0.0).sum()


def sigmoid_divergence(one: Tensor, other: Tensor, known: Tensor) -> Tensor:
    """Of answers to yes-or-no questions, a scalar; the logarithm of p / (1 - p) is the logit.

    Args:
        one: Logits of yes, (…).
        other: The same questions' other logits, (…).
        known: Which questions count, (…).
    """
    first, second = one.float(), other.float()
    each = (first.sigmoid() - second.sigmoid()) * (first - second)
    return each.masked_fill(~known, 0.0).sum()


def number_divergence(one: Tensor, other: Tensor, known: Tensor) -> Tensor:
    """Of numbers, a scalar: the squared difference.

    It is the symmetric divergence of two normal distributions of variance 1 around the numbers.

    Args:
        one: Numbers, (…).
        other: The same items' other numbers, (…).
        known: Which items count, (…).
    """
    return (one.float() - other.float()).square().masked_fill(~known, 0.0).sum()
