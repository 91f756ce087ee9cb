from pathlib import Path

import pytest

from mtl_nlp.local_files import absolute, missing


@pytest.mark.parametrize(
    ("file", "joined"),
    [
        ("a.jsonl", "/data/a.jsonl"),
        ("../a/**/*.csv", "/a/**/*.csv"),
        ("/b/a.csv", "/b/a.csv"),
        ("https://host/a.csv", "https://host/a.csv"),
        ("hf://datasets/org/name/a.csv", "hf://datasets/org/name/a.csv"),
        ("~/a.csv", str(Path.home() / "a.csv")),
    ],
)
def test_relative_files_are_joined_and_urls_left(file: str, joined: str) -> None:
    assert absolute(file, Path("/data")) == joined


def test_missing_files_are_told_from_what_the_folder_holds(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").touch()
    assert missing(str(tmp_path / "train.jsonl")) is None
    assert missing(str(tmp_path / "tr*.jsonl")) is None
    assert missing("https://host/none.csv") is None
    assert "did you mean `train.jsonl`?" in str(missing(str(tmp_path / "trian.jsonl")))
    assert "no file matches" in str(missing(str(tmp_path / "*.csv")))
    assert "is a folder; name the files in it" in str(missing(str(tmp_path)))
