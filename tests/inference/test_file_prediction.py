"""Rows get their predictions in order, a chunk at a time."""

from collections.abc import Iterator
from typing import Any

import pytest

from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.errors import DataError
from mtl_nlp.inference.file_prediction import predicted_rows
from mtl_nlp.inference.input_files import CHUNK, PlacedRow, text_rows
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import tiny_encoder, tiny_tokenizer


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    tasks = {
        "mood": {"type": "text_classification", "labels": ["bad", "good"]},
        "pos": {"type": "token_classification", "labels": ["X", "Y"], "scheme": "none"},
        "entailed": {
            "type": "text_classification",
            "labels": ["no", "yes"],
            "inputs": ["text", "text_pair"],
        },
    }
    model = MultiTaskModel.from_encoder(tiny_encoder(tmp_path_factory.mktemp("encoder")), tasks)
    return Predictor(model.eval(), RowEncoder(tiny_tokenizer(), max_length=32))


def test_rows_keep_their_order_over_chunks(predictor: Predictor) -> None:
    words = ["good", "the bad city", "music " * 9, "we play", "never"]
    texts = [f"{words[i % 5]} {i}" for i in range(CHUNK + 3)]
    results = list(predicted_rows(predictor, text_rows(texts), ["pos"]))
    assert [result["text"] for result in results] == texts
    assert [result["predictions"]["pos"]["words"] for result in results] == [
        text.split() for text in texts
    ]


def test_only_a_chunk_is_held(predictor: Predictor) -> None:
    taken = 0

    def endless() -> Iterator[PlacedRow]:
        nonlocal taken
        while True:
            taken += 1
            yield PlacedRow("row", {"text": "a"})

    next(predicted_rows(predictor, endless(), ["mood"]))
    assert taken == CHUNK


def test_a_row_keeps_its_columns(predictor: Predictor) -> None:
    rows = [PlacedRow("row", {"id": 7, "text": "good", "tags": [1, {"a": None}]})]
    (result,) = predicted_rows(predictor, rows)
    assert list(result) == ["id", "text", "tags", "predictions"]
    assert result["tags"] == [1, {"a": None}]
    assert list(result["predictions"]) == ["mood", "pos"]


def test_predictions_that_are_there_are_not_replaced(predictor: Predictor) -> None:
    rows = [PlacedRow("in.csv, line 2", {"text": "a", "predictions": ""})]
    with pytest.raises(DataError, match=r"^in\.csv, line 2: the column 'predictions'"):
        list(predicted_rows(predictor, rows))


def placed(*records: dict[str, Any]) -> list[PlacedRow]:
    return [PlacedRow(f"in.csv, line {i}", record) for i, record in enumerate(records, start=2)]


def test_a_missing_input_is_no_mistake(predictor: Predictor) -> None:
    rows = placed(
        {"text": "good", "text_pair": ""},
        {"text": "", "text_pair": "bad"},
        {"text": None},
        {"tokens": [""], "text": " "},
        {"tokens": ["bad"], "text": ""},
        {"text": "good", "text_pair": "bad", "tokens": ""},
    )
    told: list[str] = []
    results = list(predicted_rows(predictor, rows, warn=told.append))
    assert [{**result, "predictions": list(result["predictions"])} for result in results] == [
        {**row.record, "predictions": names}
        for row, names in zip(
            rows, [["mood", "pos"], [], [], [], ["mood", "pos"], ["entailed"]], strict=True
        )
    ]
    assert told == ["3 rows have no predictions (the first: in.csv, line 3): no text is there"]


@pytest.mark.parametrize("number", [1, 2])
def test_that_tokens_are_read_where_there_is_a_text_too_is_told(
    predictor: Predictor, number: int
) -> None:
    both = {"text": "something else", "tokens": ["good", "film"]}
    told: list[str] = []
    rows = placed({"text": "good"}, *[both] * number)
    results = list(predicted_rows(predictor, rows, warn=told.append))
    assert results[1]["predictions"]["pos"]["words"] == both["tokens"]
    size = "1 row" if number == 1 else "2 rows"
    assert told == [
        f"{size} with both text and tokens (in.csv, line 3 first) read by tokens alone; drop one of"
        " the columns"
    ]


@pytest.mark.parametrize(
    ("record", "task", "message"),
    [
        ({"text": " "}, "mood", "column text: expected text, found an empty one"),
        ({"text": None, "id": 1}, "mood", "column text: expected an input, found null"),
        ({"text": "good", "text_pair": ""}, "entailed", "task 'entailed' needs .*text_pair"),
    ],
)
def test_a_named_task_needs_its_input(
    predictor: Predictor, record: dict[str, Any], task: str, message: str
) -> None:
    rows = placed({"text": "good", "text_pair": "bad"} if task == "entailed" else {"text": "good"})
    with pytest.raises(DataError, match=rf"^in\.csv, line 3: {message}"):
        list(predicted_rows(predictor, [*rows, PlacedRow("in.csv, line 3", record)], [task]))


def test_a_row_without_an_input_column_is_named(predictor: Predictor) -> None:
    with pytest.raises(DataError, match=r"line 2: expected a column text or tokens, found review"):
        list(predicted_rows(predictor, placed({"review": "", "text_pair": ""})))


def test_rows_that_no_task_reads_are_told_once(
    predictor: Predictor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tasks = {
        name: {"type": "text_classification", "labels": ["a", "b"], "inputs": inputs}
        for name, inputs in {"a": ["text"], "b": ["tokens"], "c": ["text"]}.items()
    }
    model = MultiTaskModel.from_encoder(tiny_encoder(tmp_path_factory.mktemp("one")), tasks)
    single = Predictor(model.eval(), predictor.encoder)
    pair = {"text": "good", "text_pair": "bad"}
    told: list[str] = []
    results = list(
        predicted_rows(
            single, placed({"text": "a"}, *[pair] * 1200, {"text": "a"}), warn=told.append
        )
    )
    assert [len(result["predictions"]) for result in results] == [3, *[0] * 1200, 3]
    assert told == [
        "1,200 rows have no predictions (the first: in.csv, line 3), as no task reads"
        " text + text_pair: a, c read text; b reads tokens"
    ]
