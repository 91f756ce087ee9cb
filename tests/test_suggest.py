import pytest

from mtl_nlp.suggest import did_you_mean


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("learning_rte", ["warmup", "learning_rate"], "did you mean `learning_rate`?"),
        ("PER", ["person", "per"], "did you mean `per`?"),
        ("xyz", ["a", "b", "c"], "known are `a`, `b` and `c`"),
        ("xyz", ["a"], "known is `a`"),
        ("xyz", [], "none is known"),
    ],
)
def test_the_nearest_word_or_else_all_of_them(word: str, known: list[str], hint: str) -> None:
    assert did_you_mean(word, known) == hint
