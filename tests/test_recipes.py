"""Every recipe that ships runs, on a tiny encoder and a handful of rows."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from mtl_nlp import Recipe, check, train
from mtl_nlp.tasks import TASK_TYPES
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


def feats(token: str) -> str:
    return "Number=Plur|Person=3" if token.endswith("s") else "_"


TREEBANK = "\n".join(
    "\n".join(
        f"{number}\t{token}\t{token.rstrip('s')}\tX\t_\t{feats(token)}\t{min(number - 1, 1)}\t"
        f"{'dep' if number > 1 else 'root'}\t_\t_"
        for number, token in enumerate(tokens, start=1)
    )
    + "\n"
    for tokens, _, _ in SENTENCES * 3
)  # each word under the first


def rows(tokens: list[str], tags: list[str], label: str, number: int) -> dict[str, dict[str, Any]]:
    """One of the sentences as a row of each dataset, under the columns that it has on the Hub."""
    text, known = " ".join(tokens), number % 3 > 0
    found = {"text": [tokens[1]], "answer_start": [text.index(tokens[1])]}
    question = "which word ?" if known else "who ?"
    answerable = "entailment" if known else "not_entailment"
    endings = ["yes", "no"] if number % 2 else ["no", "perhaps", "yes"]
    return {
        "sst2": {"text": text, "label_text": label},
        "wnut17": {"tokens": tokens, "ner_tags": tags},
        "snips": {"tokens": tokens, "tags": tags, "intent": label},
        "go_emotions": {"text": text, "labels": [label, "joy"][: number % 3]},
        "stsb": {"sentence1": text, "sentence2": "a film", "score": number % 5 / 5},
        "hellaswag": {"ctx": text, "endings": endings, "label": number % 2},
        "squad": {
            "question": question,
            "context": text,
            "answers": found if known else {key: [] for key in found},
        },
        "qnli": {"question": question, "sentence": text, "label": answerable},
        "en_de": {"en": text, "de": text},
        "de_en": {"en": text, "de": text},
    }


def files(folder: Path, dataset: str) -> dict[str, str]:
    """The sentences as files of a dataset, by split."""
    made = {}
    for split in SPLITS:
        path = folder / f"{dataset}-{split}"
        if dataset == "ewt":
            content = TREEBANK
        else:
            every = (rows(*one, number)[dataset] for number, one in enumerate(SENTENCES * 3))
            content = "".join(json.dumps(row) + "\n" for row in every)
        path.write_text(content, encoding="utf-8")
        made[split] = str(path)
    return made


def overrides(folder: Path, recipe: Recipe) -> list[str]:
    """Words that put a tiny encoder and local files in the place of the Hub's."""
    architecture = "t5" if "translation" in recipe.output else "bert"
    words = [
        f"encoder={tiny_encoder(folder / 'encoder', architecture)}",
        f"output={folder / 'run'}",
    ]
    for name in recipe.datasets:
        path = "conllu" if name == "ewt" else "json"
        words.append(f"datasets.{name}.path={path}")
        words.append(f"datasets.{name}.data_files={json.dumps(files(folder, name))}")
        words += [f"datasets.{name}.{key}=null" for key in ("name", "revision", "splits")]
    return words


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_yaml_recipe_trains(path: Path, tmp_path: Path) -> None:
    words = overrides(tmp_path, Recipe.from_yaml(path))
    recipe = Recipe.from_yaml(path, [*words, "training.max_steps=2"])
    assert check(recipe)["steps"] == 2
    run = train(recipe)
    assert set(run.metrics["test"]) == {*recipe.tasks, "mean"}


EMOTIONS = ("admiration", "joy", "neutral")


def raters() -> Dataset:
    """Two readers' rows for each sentence, in the columns of the Hub's `raw` GoEmotions."""
    every = []
    for number, (tokens, _, _) in enumerate(SENTENCES * 3):
        for reader in range(2):
            felt = EMOTIONS[(number + reader * (number % 2)) % 3]
            answers = {name: int(name == felt) for name in EMOTIONS}
            unclear = number == 5
            row = {"text": " ".join(tokens), "id": str(number), "rater_id": reader}
            row["example_very_unclear"] = unclear
            every.append({**row, **(dict.fromkeys(EMOTIONS, 0) if unclear else answers)})
    return Dataset.from_list(every)


def conll04() -> Dataset:
    """The sentences in the columns of the Hub's CoNLL04."""
    related = [{"head": 0, "tail": 1, "type": "Live_In"}]
    every = []
    for number, (tokens, _, _) in enumerate(SENTENCES * 3):
        ends = [{"start": start, "end": start + 1, "type": "Peop"} for start in (0, 2)]
        row = {"tokens": tokens, "entities": ends, "relations": related[: number % 2]}
        every.append({**row, "orig_id": number})
    return Dataset.from_list(every)


@pytest.mark.parametrize(
    ("name", "made", "dataset"), [("votes", raters, "comments"), ("relations", conll04, "conll04")]
)
def test_script_makes_its_labels_and_trains(
    name: str,
    made: Callable[[], Dataset],
    dataset: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[str] = []

    def from_the_hub(path: str, *_: str, split: str) -> Dataset:
        loaded.append(f"{path}:{split}")
        return made()

    script = ROOT / "recipes" / f"{name}.py"
    recipe = runpy.run_path(str(script))["RECIPE"]
    others = recipe.model_copy(
        update={"datasets": {n: one for n, one in recipe.datasets.items() if n != dataset}}
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.load_dataset", from_the_hub)
    monkeypatch.setattr("sys.argv", [name, *overrides(tmp_path, others), "training.max_steps=2"])
    runpy.run_path(str(script), run_name="__main__")
    assert loaded
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics["validation"]) == {*recipe.tasks, "mean"}


def test_every_task_type_has_a_recipe() -> None:
    scripts = [ROOT / "recipes" / f"{name}.py" for name in ("votes", "relations")]
    every = [Recipe.from_yaml(path) for path in RECIPES]
    every += [runpy.run_path(str(path))["RECIPE"] for path in scripts]
    assert {task.type for recipe in every for task in recipe.tasks.values()} == set(TASK_TYPES)


def test_quickstart_shows_sentences_that_it_was_not_trained_on() -> None:
    shown = runpy.run_path(str(ROOT / "recipes" / "quickstart.py"))["TEXTS"]
    for split in SPLITS:
        rows = (ROOT / "mtl_nlp" / "corpus" / f"{split}.jsonl").read_text(encoding="utf-8")
        assert {json.loads(row)["text"] for row in rows.splitlines()}.isdisjoint(shown)


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
