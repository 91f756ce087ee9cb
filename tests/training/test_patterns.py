from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.errors import RecipeError
from mtl_nlp.training.patterns import meets, met, most_specific

NAMES = [
    "encoder.embeddings.word_embeddings.weight",
    "encoder.encoder.layer.1.output.dense.bias",
    "encoder.encoder.layer.1.output.dense.weight",
    "encoder.encoder.layer.11.output.dense.weight",
    "heads.ner.stock.classifier.weight",
    "heads.topic.stock.classifier.weight",
]
part = st.text("ab*?", min_size=1, max_size=3)
dotted = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4)


def rates(**values: float) -> dict[str, float]:
    return most_specific(
        {name.replace("__", "."): value for name, value in values.items()}, NAMES, where="key"
    )


@settings(max_examples=40)
@given(st.lists(part, min_size=1, max_size=3).map(".".join), dotted)
def test_a_pattern_meets_a_name_or_a_part_that_holds_it(pattern: str, parts: list[str]) -> None:
    holders = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
    assert meets(pattern, ".".join(parts)) == any(fnmatchcase(one, pattern) for one in holders)


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("encoder", [0, 1, 2, 3]),
        ("heads", [4, 5]),
        ("heads.ner", [4]),
        ("encoder.encoder.layer.1", [1, 2]),
        ("encoder.encoder.layer.1*", [1, 2, 3]),
        ("encoder.*.dense", [1, 2, 3]),
        ("*.bias", [1]),
        ("heads.ner.stock.classifier.weight", [4]),
        ("heads.[mn]er", [4]),
    ],
)
def test_what_patterns_meet(pattern: str, numbers: list[int]) -> None:
    assert met(pattern, NAMES, where="key") == [NAMES[number] for number in numbers]


def test_one_that_meets_nothing_is_told_what_is_near() -> None:
    with pytest.raises(RecipeError, match=r"training\.frozen: .*'heads\.nre'; the nearest are h"):
        met("heads.nre", NAMES, where="training.frozen")
    with pytest.raises(RecipeError, match=r"none is met by 'embeddings'.*encoder\.embeddings"):
        met("embeddings", NAMES, where="key")


def test_the_most_specific_decides_in_whatever_order() -> None:
    values = {"heads": 1.0, "heads.ner": 2.0, "*": 3.0, "*.bias": 4.0}
    expected = [3.0, 4.0, 3.0, 3.0, 2.0, 1.0]
    for order in (values, dict(reversed(values.items()))):
        found = most_specific(order, NAMES, where="key")
        assert [found[name] for name in NAMES] == expected
    assert rates(heads=1.0) == dict.fromkeys(NAMES[4:], 1.0)


def test_two_that_are_equally_specific_must_agree() -> None:
    assert most_specific({"*.ner": 1.0, "*.ner*": 1.0}, NAMES, where="key")
    with pytest.raises(RecipeError, match=r"key: '.*' and '.*' are equally specific, both meet"):
        most_specific({"heads.n*": 1.0, "heads.*r": 2.0}, NAMES, where="key")
