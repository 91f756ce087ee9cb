from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_nlp.hub.origins import file_name, hub_id


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/home/me/train.jsonl", "train.jsonl"),
        ("~/data/*.csv", "*.csv"),
        (r"C:\data\train.csv", "train.csv"),
        ("zip://train.jsonl::/home/me/all.zip", "train.jsonl::all.zip"),
        ("https://host/a/rows.csv?token=secret#x", "rows.csv"),
        ("train.jsonl", "train.jsonl"),
        ("ner.f1", "ner.f1"),
    ],
)
def test_a_file_is_told_by_its_name(source: str, name: str) -> None:
    assert file_name(source) == name


@given(st.text())
def test_a_file_name_has_no_folder(source: str) -> None:
    assert not {"/", "\\"} & set(file_name(source))


@pytest.mark.parametrize(
    ("source", "repository"),
    [
        ("org/name", "org/name"),
        ("imdb", "imdb"),
        ("org/name@main", "org/name"),
        ("json", None),
        ("package:corpus", None),
        ("/abs/folder", None),
        ("./folder", None),
        ("a/b/c", None),
        ("", None),
    ],
)
def test_only_names_on_the_hub_are_ids(source: str, repository: str | None) -> None:
    assert hub_id(source) == repository


def test_a_folder_is_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub_id("org/name") is None
