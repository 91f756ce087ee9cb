"""Rows get their predictions in order, a chunk at a time."""

from collections.abc import Iterator

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
