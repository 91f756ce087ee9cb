"""Predictions come in the rows' order, whatever the batches, and know their characters."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.errors import DataError, UserError
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import tiny_encoder, tiny_tokenizer

MOOD = {"type": "text_classification", "labels": ["bad", "good"]}
NER = {"type": "token_classification", "labels": ["person", "place"]}
POS = {"type": "token_classification", "labels": ["NOUN", "VERB"], "scheme": "none"}
ENTAILED = {**MOOD, "inputs": ["text", "text_pair"]}
TEXTS = [
    "good",
    "the old city was bad " * 4,
    "Anna 😩 loved Berlin.",
    "we play music",
    "a",
    "not a b",
]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tiny_encoder(tmp_path_factory.mktemp("encoder"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        tasks = {"mood": MOOD, "ner": NER, "pos": POS, "entailed": ENTAILED}
        model = MultiTaskModel.from_encoder(folder, tasks)
        for parameter in model.heads.parameters():  # far from uniform, so that labels differ
            torch.nn.init.normal_(parameter)
    return Predictor(model.eval(), RowEncoder(tiny_tokenizer(), max_length=64))


def with_batch(predictor: Predictor, size: int) -> Predictor:
    return Predictor(predictor.model, predictor.encoder, batch_size=size)


def rounded(value: Any) -> Any:
    """Scores to four decimals, so that padding's rounding does not tell."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_batches_change_nothing(predictor: Predictor, size: int) -> None:
    records = [{"text": text} for text in TEXTS]
    alone = [predictor.predict([record])[0] for record in records]
    together = with_batch(predictor, size).predict(records)
    assert rounded(together) == rounded(alone)


@pytest.mark.parametrize("tokens", [1, 20, 60])
def test_no_forward_has_more_tokens_than_allowed_unless_it_is_one_row(
    predictor: Predictor, tokens: int
) -> None:
    seen = []
    hook = predictor.model.register_forward_pre_hook(
        lambda _, args, batch: seen.append(batch["input_ids"].shape), with_kwargs=True
    )
    records = [{"text": text} for text in TEXTS]
    small = Predictor(predictor.model, predictor.encoder, 100, tokens).predict(records)
    hook.remove()
    assert len(seen) > 1
    assert all(rows == 1 or rows * seq_len <= tokens for rows, seq_len in seen)
    assert sum(rows for rows, _ in seen) == len(TEXTS)
    assert rounded(small) == rounded(predictor.predict(records))


@given(order=st.permutations(range(len(TEXTS))))
@settings(max_examples=10, deadline=None)
def test_predictions_stand_in_the_rows_order(predictor: Predictor, order: list[int]) -> None:
    records = [{"text": text} for text in TEXTS]
    straight = predictor.predict(records, ["pos"])
    shuffled = predictor.predict([records[i] for i in order], ["pos"])
    assert [one["pos"]["words"] for one in shuffled] == [straight[i]["pos"]["words"] for i in order]
    assert rounded(shuffled) == [rounded(straight[i]) for i in order]


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
@settings(max_examples=60, deadline=None)
def test_entities_are_exact_slices_of_any_text(predictor: Predictor, text: str) -> None:
    entities = predictor.predict([{"text": text}], ["ner"])[0]["ner"]
    assert all(text[e["start"] : e["end"]] == e["word"] != "" for e in entities)
    ends = [place for e in entities for place in (e["start"], e["end"])]
    assert ends == sorted(ends)
    assert all(0 <= e["score"] <= 1 for e in entities)


def test_offsets_count_characters_not_bytes(predictor: Predictor) -> None:
    text = "😩 Zoë"
    words = predictor.predict([{"text": text}], ["pos"])[0]["pos"]["words"]
    assert words == ["😩", "Zoë"]
    entities = predictor.predict([{"text": text}], ["ner"])[0]["ner"]
    assert {e["word"] for e in entities} <= {"😩", "Zoë", text}


def test_tokens_are_joined_by_blanks(predictor: Predictor) -> None:
    tokens = ["Anna", "loved", "New York", "."]
    found = predictor.predict([{"tokens": tokens}], ["ner", "pos"])[0]
    assert found["pos"]["words"] == tokens
    text = " ".join(tokens)
    assert all(text[e["start"] : e["end"]] == e["word"] for e in found["ner"])


def test_a_task_is_predicted_where_its_input_is(predictor: Predictor) -> None:
    rows = [{"text": "good"}, {"text": "good", "text_pair": "bad"}, {"tokens": ["good"]}]
    found = predictor.predict(rows)
    assert [set(one) for one in found] == [
        {"mood", "ner", "pos"},
        {"entailed"},
        {"mood", "ner", "pos"},
    ]
    assert rounded(found[0]) == rounded(found[2])


def test_named_tasks_are_the_only_ones_and_in_their_order(predictor: Predictor) -> None:
    assert list(predictor.predict([{"text": "good"}], ["pos", "mood"])[0]) == ["pos", "mood"]


def test_other_columns_do_not_matter(predictor: Predictor) -> None:
    plain, wide = predictor.predict([{"text": "good"}, {"text": "good", "id": 7, "tokens": None}])
    assert rounded(plain) == rounded(wide)


def test_no_rows_no_predictions(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_the_models_mode_is_left_as_it_was(predictor: Predictor) -> None:
    predictor.model.train()
    predictor.predict([{"text": "good"}])
    assert predictor.model.training
    predictor.model.eval()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "row 1: expected a column text or tokens, found none"),
        ({"review": "a"}, "row 1: expected a column text or tokens, found review"),
        ({"text": None}, "row 1: column text: expected an input, found null; mend or drop"),
        ({"tokens": None}, "row 1: column tokens: expected an input, found null"),
        ({"text": "a", "text_pair": "b", "choices": ["c", "d"]}, "row 1: expected text_pair or ch"),
        ({"text": " "}, "row 1: column text: expected text, found an empty one"),
        ({"text": 3}, "row 1: column text: expected text, found 3"),
        ({"text": "a", "text_pair": ""}, "row 1: column text_pair: expected text"),
        ({"tokens": "a b"}, "row 1: column tokens: expected a list of words"),
        ({"tokens": []}, "row 1: column tokens: expected words, found none"),
        ({"text": "\ud83d"}, "row 1: the text is not valid Unicode"),
    ],
)
def test_a_row_that_is_no_input_is_named(
    predictor: Predictor, record: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        predictor.predict([{"text": "good"}, record])


def test_a_row_is_named_by_its_place(predictor: Predictor) -> None:
    with pytest.raises(DataError, match=r"^in\.csv, line 9: column text"):
        predictor.predict([{"text": ""}], places=["in.csv, line 9"])


@pytest.mark.parametrize(
    ("record", "task", "message"),
    [
        ({"text": "a"}, "entailed", "row 0: task 'entailed' needs text and text_pair, found text"),
        (
            {"text": "a", "text_pair": "b"},
            "mood",
            "row 0: task 'mood' needs text, found text and text_pair",
        ),
    ],
)
def test_a_named_task_needs_its_input(
    predictor: Predictor, record: dict[str, str], task: str, message: str
) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        predictor.predict([record], [task])


def test_an_unknown_task_is_refused(predictor: Predictor) -> None:
    with pytest.raises(UserError, match="no task 'mod'; the model has mood, ner, pos, entailed"):
        predictor.predict([{"text": "a"}], ["mod"])
    with pytest.raises(UserError, match=r"expected a list of names, found 'mood'; write \['mo"):
        predictor.predict([{"text": "a"}], "mood")


def test_what_is_cut_off_gets_the_fallback(predictor: Predictor, tmp_path: Path) -> None:
    short = Predictor(predictor.model, RowEncoder(tiny_tokenizer(), max_length=4))
    found = short.predict([{"text": "Anna loved the city"}], ["ner", "pos"])[0]
    assert len(found["pos"]["tags"]) == 4
    assert all(e["end"] <= len("Anna") for e in found["ner"])
