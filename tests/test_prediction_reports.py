"""What people read of predictions, with nothing lost."""

from pathlib import Path
from typing import Any

import pytest

from mtl_nlp.inference.input_files import RowFile
from mtl_nlp.prediction_reports import prediction, reading
from tests.screens import rows_of, shown


def test_an_embedding_is_not_spelt_out() -> None:
    told = shown(prediction("A text.", {"alike": {"embedding": [0.25] * 384}}))
    assert rows_of(told)[1][:5] == ["alike", "embedding", "of", "384", "numbers"]
    assert "0.25" not in told


def test_entities_are_marked_where_they_stand() -> None:
    text = "Anna [sic] loved 😩 Berlin."
    entities = [
        {"entity_group": "person", "word": "Anna", "score": 0.987, "start": 0, "end": 4},
        {"entity_group": "place", "word": "Berlin", "score": 0.5, "start": 19, "end": 25},
    ]
    told = shown(prediction(text, {"mood": {"label": "good", "score": 0.9}, "ner": entities}))
    lines = [line.strip() for line in told.splitlines()]
    assert lines[:2] == [text, "mood  good  0.90"]
    assert lines[2] == "ner   [Anna person 0.99] [sic] loved 😩 [Berlin place 0.50]."


@pytest.mark.parametrize(
    ("predicted", "told"),
    [
        ([], "none"),
        ({"words": ["a", "b"], "tags": ["DET", "[X]"]}, "a/DET b/[X]"),
        ({"score": 0.5}, '{"score": 0.5}'),
    ],
)
def test_a_prediction_is_shown_by_its_shape(predicted: Any, told: str) -> None:
    assert (
        shown(prediction("a b", {"it": predicted})).splitlines()[1].split("it", 1)[1].strip()
        == told
    )


def test_a_bar_does_not_swallow_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    for quiet in (False, True):
        with reading(RowFile(str(tmp_path / "in.txt")), quiet=quiet) as rows:
            for row in rows:
                print(row.record["text"])
        output = capsys.readouterr()
        assert output.out == "one\ntwo\n"
        assert ("in.txt" in output.err) != quiet
