"""CoNLL-U files become sentences of syntactic words, or the wrong line is named."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from mtl_nlp.data.conllu import read_conllu
from mtl_nlp.data.loading import load_splits
from mtl_nlp.errors import DataError, RecipeError
from mtl_nlp.recipe import DatasetSpec, Recipe

FILE = """\
# newdoc id = d
# text = I don't_.
1\tI\tI\tPRON\tPRP\tCase=Nom|Number=Sing\t2\tnsubj\t2:nsubj\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
2\tdo\tdo\tAUX\t_\t_\t0\troot\t0:root\t_
3\tn't\t_\tPART\t_\t_\t2\tadvmod\t2:advmod\t_
3.1\tgo\tgo\tVERB\t_\t_\t_\t_\t0:root\t_
4\t_\t_\tSYM\t_\t_\t2\tdep\t_\t_

1\tSi\t_\t_\t_\t_\t_\t_\t_\t_
"""
ROWS: list[dict[str, Any]] = [
    {
        "tokens": ["I", "do", "n't", "_"],
        "upos": ["PRON", "AUX", "PART", "SYM"],
        "xpos": ["PRP", None, None, None],
        "lemmas": ["I", "do", None, "_"],
        "heads": [2, 0, 2, 2],
        "deprels": ["nsubj", "root", "advmod", "dep"],
        "feats": [["Case=Nom", "Number=Sing"], [], [], []],
    },
    {
        "tokens": ["Si"],
        **dict.fromkeys(("upos", "xpos", "lemmas", "heads", "deprels")),
        "feats": [[]],
    },
]


def write(file: Path, content: str) -> str:
    raw = content.encode()
    file.write_bytes(gzip.compress(raw) if file.suffix == ".gz" else raw)
    return str(file)


@pytest.mark.parametrize("name", ["a.conllu", "a.conllu.gz"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n# end\n"])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_sentences_are_read(tmp_path: Path, name: str, end: str, line: str) -> None:
    file = write(tmp_path / name, (FILE + end).replace("\n", line))
    assert read_conllu([file]).to_list() == ROWS


def test_several_files_and_patterns_are_read_in_order(tmp_path: Path) -> None:
    second, first = FILE.split("\n\n")
    write(tmp_path / "a.conllu", first)
    write(tmp_path / "b.conllu", "\ufeff" + second)
    assert read_conllu([str(tmp_path / "*.conllu")]).to_list() == ROWS[::-1]
    with pytest.raises(ValueError, match=r"no file matches .*\.txt"):
        read_conllu([str(tmp_path / "*.txt")])


def test_a_line_separator_within_a_word_ends_no_line(tmp_path: Path) -> None:
    file = write(tmp_path / "a.conllu", "1\ta\u2028b\u0085\tx y\t_\t_\t_\t0\troot\t_\t_\n")
    assert read_conllu([file])["tokens"][0] == ["a\u2028b\u0085"]


def line(**cells: str) -> str:
    names = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
    return "\t".join({**dict.fromkeys(names, "_"), "id": "1", "form": "a", **cells}.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 a a", "line 4: expected 10 cells with tabs between them, found 1"),
        (line() + "\t_", "line 4: expected 10 cells with tabs between them, found 11"),
        (line(lemma=""), "line 4: the cell LEMMA is empty; write _ where there is nothing"),
        (line(form=""), "line 4: the cell FORM is empty"),
        (line(id="2"), "line 4: expected the ID 1, found '2'; words count from 1"),
        (line(id="1a"), "line 4: expected the ID 1, found '1a'"),
        (line() + "\n" + line(), "line 5: expected the ID 2, found '1'"),
        (line(head="-1"), "line 4: expected a word's number as HEAD, 0 or _, found '-1'"),
        (line(head="root"), "line 4: expected a word's number as HEAD, 0 or _, found 'root'"),
    ],
)
def test_a_line_that_is_no_conllu_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = write(tmp_path / "a.conllu", f"# one\n{line()}\n\n{content}\n")
    spec = DatasetSpec(path="conllu", data_files={"train": file}, tokens="tokens")
    with pytest.raises(DataError, match=rf"^dataset 'd', split train: .*a\.conllu, {message}"):
        load_splits("d", spec, seed=1)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_bytes(line(form="\xe9").encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.conllu is not UTF-8; save it as UTF-8"):
        read_conllu([str(tmp_path / "a.conllu")])
    (tmp_path / "a.conllu.gz").write_bytes(gzip.compress(FILE.encode())[:-20])
    with pytest.raises(ValueError, match=r"a\.conllu\.gz cannot be read whole"):
        read_conllu([str(tmp_path / "a.conllu.gz")])
    with pytest.raises(ValueError, match=r"b\.conllu cannot be read whole: .*No such file"):
        read_conllu([str(tmp_path / "b.conllu")])


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    files = {"train": write(tmp_path / "a.conllu", FILE), "test": write(tmp_path / "b.conllu", "")}
    spec = DatasetSpec(path="conllu", data_files=files, tokens="tokens")
    with pytest.raises(DataError, match="dataset 'd', split test: expected rows, found none"):
        load_splits("d", spec, seed=1)


def test_a_recipe_names_such_files_relative_to_itself(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        write(tmp_path / f"{split}.conllu", FILE)
    recipe = tmp_path / "ud.yaml"
    recipe.write_text(
        "encoder: org/encoder\n"
        "datasets: {d: {path: conllu, data_files: {train: train.conllu, validation: dev.conllu},"
        " tokens: tokens}}\n"
        "tasks: {t: {type: dependency_parsing, dataset: d, heads: heads, deprels: deprels}}\n"
    )
    splits = load_splits("d", Recipe.from_yaml(recipe).datasets["d"], seed=1)
    assert {split: rows.to_list() for split, rows in splits.items()} == {
        "train": ROWS,
        "validation": ROWS,
    }
    with pytest.raises(RecipeError, match=r"`path: conllu` reads files; name them"):
        Recipe.from_yaml(recipe, ["datasets.d.data_files=null"])
