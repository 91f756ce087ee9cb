"""What rows of tags and entities teach: labels, span types and how many words have each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.tasks.schemes import Span, write_tags
from mtl_nlp.tasks.tag_learning import count_labels, count_tags, learn_types, type_of_tag


def test_labels_are_counted_by_name() -> None:
    rows = [{"tags": ["V", 0, None]}, {"tags": None}, {"tags": [0]}]
    assert count_labels(rows, ["N", "V"]) == {"N": 2, "V": 1}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.sampled_from([None, "a", "b-c"]), max_size=6), max_size=4))
def test_tags_are_counted_in_the_heads_scheme(rows: list[list[str | None]]) -> None:
    """Rows of spans of one word, whichever scheme they are written in."""
    spans = [[Span(i, i + 1, name) for i, name in enumerate(row) if name] for row in rows]
    for source in ("bio", "bioes"):
        written = [write_tags(one, len(row), source) for one, row in zip(spans, rows, strict=True)]
        counts = count_tags([{"tags": tags} for tags in written], "bioes")
        words = [name for row in rows for name in row]
        assert counts == {
            tag: words.count(name)
            for tag, name in (("O", None), ("S-a", "a"), ("S-b-c", "b-c"))
            if name in words
        }


@pytest.mark.parametrize(
    ("class_names", "tags", "types"),
    [
        (["O", "B-y", "I-y", "B-x"], [["B-z"]], ("y", "x")),
        (["y", "x"], [], ("y", "x")),
        (None, [["S-b", "O"], ["S-a-c"], None], ("a-c", "b")),
    ],
)
def test_types_keep_the_order_of_classes_and_else_are_sorted(
    class_names: list[str] | None, tags: list[list[str] | None], types: tuple[str, ...]
) -> None:
    rows = [{"tags": one} for one in tags]
    assert learn_types(rows, class_names, count_tags([], "bio")) == types
    assert learn_types([], class_names, count_tags(rows, "bioes")) == types


def test_o_is_its_own_type() -> None:
    assert [type_of_tag(tag) for tag in ("O", "I-a", "E-b-c", "d")] == ["O", "a", "b-c", "d"]
