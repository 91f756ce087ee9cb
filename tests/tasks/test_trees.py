"""The best tree against all trees, and against networkx."""

from functools import cache
from itertools import product

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.tasks.trees import best_tree, tree_problem

SEEDS = st.integers(0, 2**32 - 1)


def is_tree(heads: tuple[int, ...]) -> bool:
    """Whether exactly one word hangs on the root and all words lead there."""
    reached = set()
    for word in range(1, len(heads) + 1):
        node, steps = word, 0
        while node and steps <= len(heads):
            node, steps = heads[node - 1], steps + 1
        reached.add(node)
    return heads.count(0) == 1 and reached == {0}


@cache
def all_trees(words: int) -> np.ndarray:
    """Every tree, (trees, words)."""
    return np.array([h for h in product(range(words + 1), repeat=words) if is_tree(h)])


def total(scores: np.ndarray, heads: np.ndarray) -> np.ndarray:
    return scores[np.arange(len(scores)), heads].sum(axis=-1)


def scores_of(words: int, seed: int, *, whole: bool = False) -> np.ndarray:
    source = np.random.default_rng(seed)
    shape = (words, words + 1)
    # Small whole numbers tie often, far-apart ones tempt with several roots.
    return source.integers(0, 3, shape) * 1.0 if whole else source.normal(size=shape) * 50


@pytest.mark.parametrize(("words", "number"), [(1, 1), (2, 2), (3, 9), (4, 64), (5, 625)])
def test_there_are_as_many_trees_as_cayley_says(words: int, number: int) -> None:
    assert len(all_trees(words)) == number == words ** (words - 1)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), SEEDS, st.booleans(), st.integers(-300, 300))
def test_it_is_the_best_of_all_trees(words: int, seed: int, whole: bool, root: int) -> None:
    scores = scores_of(words, seed, whole=whole)
    scores[:, 0] += root
    heads = best_tree(scores)
    assert is_tree(tuple(heads.tolist()))
    assert total(scores, heads) == pytest.approx(total(scores, all_trees(words)).max())


@settings(deadline=None, max_examples=15)
@given(st.integers(6, 12), SEEDS, st.sampled_from([-100, 0, 100]))
def test_it_is_as_good_as_that_of_networkx_under_the_best_root(
    words: int, seed: int, root: int
) -> None:
    scores = scores_of(words, seed)
    scores[:, 0] += root
    best = -np.inf
    for top in range(words):
        graph = networkx.DiGraph([(0, top + 1, {"weight": scores[top, 0]})])
        graph.add_weighted_edges_from(
            (head, word, scores[word - 1, head])
            for word in range(1, words + 1)
            for head in range(1, words + 1)
            if head != word
        )
        tree = networkx.maximum_spanning_arborescence(graph)
        best = max(best, tree.size("weight"))
    heads = best_tree(scores)
    assert is_tree(tuple(heads.tolist()))
    assert total(scores, heads) == pytest.approx(best)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 60), SEEDS)
def test_a_tree_with_far_higher_scores_is_found(words: int, seed: int) -> None:
    source = np.random.default_rng(seed)
    order = source.permutation(words)
    heads = np.zeros(words, dtype=np.int64)
    for place in range(1, words):
        heads[order[place]] = order[source.integers(place)] + 1
    scores = source.normal(size=(words, words + 1)) * 3
    scores[np.arange(words), heads] += 100
    assert best_tree(scores).tolist() == heads.tolist()


def test_a_words_score_under_itself_is_not_looked_at() -> None:
    scores = np.array([[0.0, 99.0, 1.0], [-5.0, 2.0, np.inf]])
    scores[1, 2] = np.finfo(np.float32).min
    assert best_tree(scores).tolist() == [0, 1]


def test_no_words_have_no_heads() -> None:
    assert best_tree(np.empty((0, 1))).tolist() == []


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6).flatmap(lambda n: st.tuples(*[st.integers(0, n)] * n)))
def test_what_is_no_tree_is_told(heads: tuple[int, ...]) -> None:
    assert (tree_problem(heads) is None) == is_tree(heads)


@pytest.mark.parametrize(
    ("heads", "problem"),
    [
        ([0, 4, 1], "word 2 has head 4, but there are 3 words; heads count words from 1"),
        ([0, -1], "word 2 has head -1"),
        ([0, 1, 0], "expected one word with head 0, the root, found words 1, 3"),
        ([2, 1], "expected one word with head 0, the root, found none"),
        ([0, 3, 2], "expected a tree, but from word 2 the heads lead back to itself"),
        ([0, 2], "expected a tree, but from word 2 the heads lead back to itself"),
    ],
)
def test_the_problem_names_its_words(heads: list[int], problem: str) -> None:
    assert str(tree_problem(heads)).startswith(problem)
