"""Every recipe that ships runs, on a tiny encoder and a handful of rows."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from mtl_nlp import Recipe, check, train
from tests.tiny import tiny_encoder

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
SPLITS = ("train", "validation", "test")
SENTENCES = [
    (["i", "liked", "the", "film"], ["O", "O", "O", "O"], "positive"),
    (["nina", "left", "oslo", "early"], ["B-person", "O", "B-location", "O"], "negative"),
    (["new", "york", "was", "great"], ["B-location", "I-location", "O", "O"], "positive"),
    (["a", "dull", "story"], ["O", "O", "O"], "negative"),
]


def local_files(folder: Path, columns: dict[str, str]) -> str:
    """Files of the bundled sentences under a recipe's column names, as YAML flow."""
    for split in SPLITS:
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for tokens, tags, label in SENTENCES * 3:
                values = {"text": " ".join(tokens), "tokens": tokens, "tags": tags, "label": label}
                row = {column: values[kind] for column, kind in columns.items()}
                file.write(json.dumps(row) + "\n")
    return json.dumps({split: str(folder / f"{split}.jsonl") for split in SPLITS})


def treebank(folder: Path) -> str:
    """The bundled sentences as CoNLL-U, each word under the first, as YAML flow."""
    lines = []
    for tokens, _, _ in SENTENCES * 3:
        for number, token in enumerate(tokens, start=1):
            head, deprel = (1, "dep") if number > 1 else (0, "root")
            cells = [number, token, token.rstrip("s"), "X", "_", "_", head, deprel, "_", "_"]
            lines.append("\t".join(map(str, cells)))
        lines.append("")
    for split in SPLITS:
        (folder / f"{split}.conllu").write_text("\n".join(lines), encoding="utf-8")
    return json.dumps({split: str(folder / f"{split}.conllu") for split in SPLITS})


def questions(folder: Path) -> dict[str, str]:
    """Questions about the bundled sentences, by dataset, as YAML flow."""
    files: dict[str, dict[str, str]] = {"squad": {}, "qnli": {}}
    for split in SPLITS:
        rows: dict[str, list[object]] = {"squad": [], "qnli": []}
        for number, (tokens, _, _) in enumerate(SENTENCES * 3):
            text, known = " ".join(tokens), number % 3 > 0
            found = {"text": [tokens[1]], "answer_start": [text.index(tokens[1])]}
            row = {"question": "which word ?" if known else "who ?", "context": text}
            rows["squad"].append({**row, "answers": found if known else {k: [] for k in found}})
            label = "entailment" if known else "not_entailment"
            rows["qnli"].append({"question": row["question"], "sentence": text, "label": label})
        for name, lines in rows.items():
            path = folder / f"{name}-{split}.jsonl"
            path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
            files[name][split] = str(path)
    return {name: json.dumps(paths) for name, paths in files.items()}


def texts(folder: Path, name: str, **column: list[Any]) -> str:
    """Files of the bundled sentences as texts with another column, as YAML flow."""
    (key, values), files = next(iter(column.items())), {}
    for split in SPLITS:
        files[split] = str(folder / f"{name}-{split}.jsonl")
        with Path(files[split]).open("w", encoding="utf-8") as file:
            for (tokens, _, label), value in zip(SENTENCES * 3, values * 3, strict=True):
                row = {"text": " ".join(tokens), key: value}
                file.write(json.dumps({"label": label, "number": len(tokens) % 2, **row}) + "\n")
    return f"{{path: json, data_files: {json.dumps(files)}, text: text"


def overrides(folder: Path, recipe: str) -> list[str]:
    architecture = "t5" if recipe == "translation" else "bert"
    encoder = tiny_encoder(folder / "encoder", architecture)
    words = [f"encoder={encoder}", f"output={folder / 'run'}"]
    if recipe == "intent_slots":
        files = local_files(folder, {"tokens": "tokens", "tags": "tags", "intent": "label"})
        return [*words, f"datasets.snips.data_files={files}"]
    if recipe == "ud":
        return [*words, f"datasets.ewt.data_files={treebank(folder)}"]
    if recipe == "question_answering":
        about = questions(folder)
        pairs = {"squad": "context", "qnli": "sentence"}
        return words + [
            f"datasets.{name}={{path: json, data_files: {about[name]}, text: question,"
            f" text_pair: {pair}}}"
            for name, pair in pairs.items()
        ]
    sentences = f"datasets.sst2={texts(folder, 'sst2', label_text=['up', 'down'] * 2)}}}"
    if recipe == "multiple_choice":
        stories = texts(folder, "stories", choices=[["yes", "no"], ["no", "perhaps", "yes"]] * 2)
        dataset = f"datasets.hellaswag={stories}, choices: choices}}"
        return [*words, dataset, "tasks.ending.label=number", sentences]
    if recipe == "sentence_similarity":
        pairs = texts(folder, "pairs", text_pair=["a film", "she left", "it was great", "new"])
        dataset = f"datasets.stsb={pairs}, text_pair: text_pair}}"
        return [*words, dataset, "tasks.likeness.label=number", sentences]
    if recipe == "masked_language_modeling":
        files = local_files(folder, {"text": "text", "label_text": "label"})
        return [*words, f"datasets.sst2={{path: json, data_files: {files}, text: text}}"]
    if recipe == "translation":
        files = local_files(folder, {"en": "text", "de": "text", "label_text": "label"})
        own = f"path: json, data_files: {files}"
        words += [f"datasets.{name}={{{own}, text: {name[:2]}}}" for name in ("en_de", "de_en")]
        return [*words, f"datasets.sst2={{{own}, text: en}}", "max_length=32"]
    columns = {"text": "text", "tokens": "tokens", "label_text": "label", "ner_tags": "tags"}
    files = local_files(folder, columns)
    return [
        *words,
        f"datasets.sst2={{path: json, data_files: {files}, text: text}}",
        f"datasets.wnut17={{path: json, data_files: {files}, tokens: tokens}}",
    ]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_yaml_recipe_trains(path: Path, tmp_path: Path) -> None:
    recipe = Recipe.from_yaml(path, [*overrides(tmp_path, path.stem), "training.max_steps=2"])
    assert check(recipe)["steps"] == 2
    run = train(recipe)
    assert set(run.metrics["test"]) == {*recipe.tasks, "mean"}


def test_every_yaml_recipe_is_tested() -> None:
    assert {path.stem for path in RECIPES} == {
        "intent_slots",
        "masked_language_modeling",
        "question_answering",
        "multiple_choice",
        "sentence_similarity",
        "sentiment_ner",
        "translation",
        "ud",
    }


def test_quickstart_script_trains_and_predicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = tiny_encoder(tmp_path / "encoder")
    words = [f"encoder={encoder}", f"output={tmp_path / 'run'}", "training.max_steps=2"]
    monkeypatch.setattr("sys.argv", ["quickstart.py", *words])
    runpy.run_path(str(ROOT / "recipes" / "quickstart.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert "accuracy" in out
    assert out.count("sentiment: {'label':") == 3
