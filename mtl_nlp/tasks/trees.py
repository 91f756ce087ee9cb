"""Dependency trees: whether heads make one, and which one scores best.

A tree is written as the head of each word, counted from 1; exactly one word has head 0, the root.
"""

from collections.abc import Sequence

import numpy as np


def tree_problem(heads: Sequence[int]) -> str | None:
    """Why the heads of a sentence's words make no tree, or None.

    >>> tree_problem([2, 0, 2]), tree_problem([2, 3, 2])
    (None, 'expected one word with head 0, the root, found none')
    """
    for word, head in enumerate(heads, start=1):
        if not 0 <= head <= len(heads):
            return (
                f"word {word} has head {head}, but there are {len(heads)} words; heads count words"
                " from 1, and 0 marks the root"
            )
    roots = [word for word, head in enumerate(heads, start=1) if head == 0]
    if len(roots) != 1:
        found = f"words {', '.join(map(str, roots))}" if roots else "none"
        return f"expected one word with head 0, the root, found {found}"
    cycle = find_cycle(np.array([0, *heads]))
    if cycle:
        return f"expected a tree, but from word {cycle[0]} the heads lead back to itself"
    return None


def best_tree(scores: np.ndarray) -> np.ndarray:
    """The tree with one root word whose arcs have the greatest sum of scores.

    It is exact: Chu and Liu (1965) and Edmonds (1967), with a penalty on arcs from the root so
    great that every further one loses more than any choice of other arcs can win.

    Args:
        scores: Of each word under each head, the root first, finite but for a word under itself,
            (words, words + 1).

    Returns:
        The head of each word, (words,); 0 is the root.
    """
    words = len(scores)
    if not words:
        return np.empty(0, dtype=np.int64)
    arcs = np.full((words + 1, words + 1), -np.inf)  # (dependent, head); 0 is the root
    arcs[1:] = scores
    np.fill_diagonal(arcs, -np.inf)
    finite = arcs[np.isfinite(arcs)]
    arcs[1:, 0] -= 1 + words * (finite.max() - finite.min())
    return _arborescence(arcs)[1:]


def find_cycle(heads: np.ndarray) -> list[int]:
    """The nodes of a cycle, each followed by its head; none where all lead to node 0.

    Args:
        heads: Of each node, (nodes,); that of node 0 is not looked at.
    """
    # The walk that first came to a node; to meet one's own is to have gone round.
    walk_of = [0] + [-1] * (len(heads) - 1)
    of = heads.tolist()
    for start in range(1, len(of)):
        node = start
        while walk_of[node] == -1:
            walk_of[node] = start
            node = of[node]
        if walk_of[node] == start:
            cycle = [node]
            while of[cycle[-1]] != node:
                cycle.append(of[cycle[-1]])
            return cycle
    return []


def _arborescence(arcs: np.ndarray) -> np.ndarray:
    """The best head of each node in the best tree from node 0, (nodes,)."""
    heads: np.ndarray = arcs.argmax(axis=1)
    cycle = np.array(find_cycle(heads), dtype=np.int64)
    if not len(cycle):
        return heads
    # The cycle becomes one node, the last. An arc into it counts what it gains over the arc of the
    # cycle that it replaces.
    rest = np.setdiff1d(np.arange(len(arcs)), cycle)
    entries = arcs[np.ix_(cycle, rest)] - arcs[cycle, heads[cycle]][:, None]
    exits = arcs[np.ix_(rest, cycle)]
    entry, leave = entries.argmax(axis=0), exits.argmax(axis=1)
    smaller = np.full((len(rest) + 1, len(rest) + 1), -np.inf)
    smaller[:-1, :-1] = arcs[np.ix_(rest, rest)]
    smaller[-1, :-1], smaller[:-1, -1] = entries.max(axis=0), exits.max(axis=1)
    inner = _arborescence(smaller)
    under_cycle = inner[:-1] == len(rest)
    outer = rest[np.minimum(inner[:-1], len(rest) - 1)]
    heads[rest] = np.where(under_cycle, cycle[leave], outer)
    heads[cycle[entry[inner[-1]]]] = rest[inner[-1]]
    return heads
