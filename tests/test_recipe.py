import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import Recipe, check_files
from mtl_nlp.recipe_training import TrainingSpec

FULL = """
encoder: sentence-transformers/all-MiniLM-L6-v2   # Hub id, folder, or package:NAME
max_length: 128
long_text: cut
dropout: null
seed: 13
output: runs/sentiment_ner

datasets:
  sst2:
    path: json
    data_files: {train: sst2/train.jsonl, validation: sst2/validation.jsonl, test: sst2/test.jsonl}
    text: text
  wnut17:
    path: leondz/wnut_17
    tokens: tokens
    splits: {validation: dev}
    max_rows: {train: 3000}
    streaming: false

tasks:
  sentiment: {type: text_classification, dataset: sst2, label: label}
  ner: {type: token_classification, dataset: wnut17, tags: tags, scheme: bio, weight: 1.0}

sampling: {strategy: proportional, mix: batch}
balancing: {method: equal}
training:
  epochs: 3
  batch_size: 32
  micro_batch_size: 32
  learning_rate: 1.0e-4
  schedule: linear
  warmup: 0.1
  weight_decay: 0.01
  max_grad_norm: 1.0
  precision: auto
  checkpoint_every: null
  keep_checkpoints: 2
  early_stopping: null
  trackers: []
evaluation: {every: epoch, select: mean}
hub: {repo_id: null, private: true, push: end}
"""
DEFAULTED = ("max_length", "long_text", "dropout", "seed", "sampling", "balancing", "training")


def mapping() -> dict[str, Any]:
    """A small recipe without defaults' keys."""
    return {
        "encoder": "org/encoder",
        "datasets": {"sst2": {"path": "stanfordnlp/sst2", "text": "sentence"}},
        "tasks": {"mood": {"type": "text_classification", "dataset": "sst2", "label": "label"}},
    }


def write(folder: Path, text: str, name: str = "sentiment_ner.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_full_example_is_read(tmp_path: Path) -> None:
    recipe = Recipe.from_yaml(write(tmp_path, FULL))
    assert recipe.datasets["sst2"].data_files == {
        split: [str(tmp_path / "sst2" / f"{split}.jsonl")]
        for split in ("train", "validation", "test")
    }
    assert recipe.datasets["wnut17"].splits == {"validation": "dev"}
    assert recipe.tasks["ner"].model_extra == {"tags": "tags", "scheme": "bio"}
    assert recipe.tasks["ner"].datasets == ("wnut17",)


def test_what_the_full_example_spells_out_are_the_defaults(tmp_path: Path) -> None:
    full, small = Recipe.from_yaml(write(tmp_path, FULL)), Recipe(**mapping())
    for key in (*DEFAULTED, "evaluation", "hub"):
        assert getattr(full, key) == getattr(small, key)
    assert small.output == "runs/recipe"
    unnamed = FULL.replace("output: runs/sentiment_ner\n", "")
    assert Recipe.from_yaml(write(tmp_path, unnamed, "mine.yaml")).output == "runs/mine"


@pytest.mark.parametrize("key", ["training", "hub", "output", "seed", "evaluation"])
def test_null_brings_the_default(key: str) -> None:
    assert Recipe(**mapping() | {key: None}) == Recipe(**mapping())


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "0.0001", ".0001", "1.0e-4", "+1e-4"])
def test_numbers_may_be_written_as_people_do(tmp_path: Path, number: str) -> None:
    text = FULL.replace("learning_rate: 1.0e-4", f"learning_rate: {number}")
    assert Recipe.from_yaml(write(tmp_path, text)).training.learning_rate == 1e-4


def test_labels_that_yaml_takes_for_something_else_stay_labels(tmp_path: Path) -> None:
    task = "{type: x, dataset: sst2, label: no, labels: [no, yes, 1, 'null', true], map: {0: no}}"
    text = FULL.replace("{type: text_classification, dataset: sst2, label: label}", task)
    mood = Recipe.from_yaml(write(tmp_path, text)).tasks["sentiment"]
    assert mood.labels == ["no", "yes", "1", "null", "true"]
    assert (mood.map, mood.model_extra) == ({"0": "no"}, {"label": "no"})


BAD = [
    ("encoder=null", "encoder: missing; give a Hub id, a folder or package:NAME"),
    ("encoder=''", 'encoder: should not be empty, found ""'),
    ("enocder=x", "enocder: unknown key; did you mean `encoder`?"),
    ("training.learning_rte=1", "training.learning_rte: unknown key; did you mean `learning_rate`"),
    ("training.optimizer=x", "training.optimizer: unknown key; known are `epochs`, `max_steps`"),
    ("learning_rate=1", "learning_rate: unknown key; did you mean `training.learning_rate`?"),
    ("training.seed=1", "training.seed: unknown key; did you mean `seed` outside of `training`?"),
    ("training=[1]", "training: should be a mapping (`key: value`), found [1]"),
    ("training.epochs=0", "training.epochs: should be greater than or equal to 1, found 0"),
    ("training.epochs=1.5", "training.epochs: should be a whole number, found 1.5"),
    ("training.epochs=true", "training.epochs: should be a whole number, found true"),
    ("training={epochs: 1, max_steps: 2}", "training: has both `epochs: 1` and `max_steps: 2`"),
    ("training.max_steps=-1", "training.max_steps: should be greater than or equal to 1"),
    ("training.learning_rate=0", "training.learning_rate: should be greater than 0, found 0"),
    ("training.learning_rate=fast", 'training.learning_rate: should be a number, found "fast"'),
    ("training.learning_rate=1e999", "training.learning_rate: should be a finite number"),
    ("training.warmup=1", "training.warmup: should be less than 1, found 1"),
    ("training.weight_decay=-0.1", "training.weight_decay: should be greater than or equal to 0"),
    ("training.schedule=linar", "found \"linar\"; did you mean `linear`?"),
    ("training.precision=bf8", "should be 'auto', 'fp32', 'bf16' or 'fp16', found \"bf8\""),
    ("training.keep_checkpoints=0", "training.keep_checkpoints: should be greater than or equal"),
    ("training.early_stopping=0", "training.early_stopping: should be greater than or equal to 1"),
    ("training.trackers=wandb", 'training.trackers: should be a list, found "wandb"'),
    ("dropout=1.0", "dropout: should be less than 1, found 1.0"),
    ("max_length=2", "max_length: should be greater than or equal to 3, found 2"),
    ("long_text=slide", "long_text: should be 'cut' or 'windows', found \"slide\""),
    ("stride=-1", "stride: should be greater than or equal to 0, found -1"),
    ("seed=-1", "seed: should be greater than or equal to 0, found -1"),
    ("datasets={}", "datasets: should hold at least one entry"),
    ("datasets.sst2.columns=[a]", "datasets.sst2.columns: unknown key; known are `path`"),
    ("datasets.sst2.streaming='no'", "datasets.sst2.streaming: should be true or false"),
    ("datasets.sst2.path=null", "datasets.sst2.path: missing; give a Hub id, or one of json, csv"),
    ("datasets.sst2.path=jsonl", "`path: jsonl` names no dataset and no loader of files"),
    ("datasets.sst2.path=a/b.csv", "write `path: csv` and `data_files: a/b.csv`"),
    ("datasets.sst2.path=json", "`path: json` reads files; name them under `data_files`"),
    ("datasets.sst2.text=null", "datasets.sst2: has no input column; give `text: COLUMN`"),
    ("datasets.sst2.tokens=words", "has both `text: sentence` and `tokens: words`; keep one"),
    ("datasets.sst2={path: a, tokens: b, text_pair: c}", "`text_pair: c` goes with `text`"),
    ("datasets.sst2.revision=1.10", "revision: should be text, found 1.1; write it in quotes"),
    ("datasets.sst2.data_files={train: 3}", "data_files: should be files, or a mapping of split"),
    ("datasets.sst2.data_files=[]", "datasets.sst2.data_files: should be files, or a mapping"),
    ("datasets.sst2.splits={validation: 1.5}", "should be a share of train between 0 and 1"),
    ("datasets.sst2.splits={train: 0.5}", "only validation and test are held out"),
    ("datasets.sst2.splits={validation: 0.5, test: 0.5}", "`splits` holds out 1 of train"),
    ("datasets.sst2.splits={dev: validation}", "datasets.sst2.splits.dev: should be 'train', 'val"),
    ("datasets.sst2.max_rows={tran: 9}", "max_rows.tran: should be 'train', 'validation' or"),
    ("datasets.sst2.max_rows={train: 0}", "datasets.sst2.max_rows.train: should be greater than"),
    ("datasets.imdb={path: imdb, text: text}", "datasets.imdb: no task uses it; name it as a task"),
    ("datasets.my-data={path: imdb, text: text}", "datasets.my-data: a name is made of English"),
    ("tasks.mean={type: x, dataset: sst2}", "tasks.mean: `mean` and `worst` stand for scores"),
    ("tasks.mood.type=null", "tasks.mood.type: missing; give a task type, such as"),
    ("tasks.mood={type: x, dataste: sst2}", "tasks.mood.dataset: missing; is `dataste` meant"),
    ("tasks.mood.dataset=sst", "tasks.mood.dataset: there is no dataset `sst`; did you mean"),
    ("tasks.mood.dataset=[]", "tasks.mood.dataset: should be a dataset's name or a list of them"),
    ("tasks.mood.dataset=[sst2, sst2]", "tasks.mood.dataset: should name each dataset once"),
    ("tasks.mood.weight=0", "tasks.mood.weight: should be greater than 0, found 0"),
    ("tasks.mood.labels=[a, a]", 'tasks.mood.labels: should name each label once, found "a" twice'),
    ("tasks.mood.labels=[a, ' ']", "tasks.mood.labels: should hold label names, found an empty"),
    ("tasks.mood.labels=[1.5]", "tasks.mood.labels: should hold label names, found 1.5; write it"),
    ("tasks.mood.labels=3", "tasks.mood.labels: should be a list of label names"),
    ("tasks.mood.metrics=wer", 'tasks.mood.metrics: should be a list, found "wer"'),
    ("tasks.mood.metrics=[wer, 3]", "tasks.mood.metrics.1: should be text, found 3; write it in"),
    ("tasks.mood.metrics=['']", 'tasks.mood.metrics.0: should not be empty, found ""'),
    ("tasks.mood.map=[a, b]", "tasks.mood.map: should be a mapping of old to new label names"),
    ("tasks.nre=null", "tasks.nre: should be a mapping (`key: value`), found null"),
    ("tasks.mood.x=1e999", "tasks.mood.x: should be text, a number, a list or a mapping"),
    ("sampling.strategy=proportionate", "did you mean `proportional`?"),
    ("sampling.mix=both", "sampling.mix: should be 'batch' or 'step', found \"both\""),
    ("balancing.method=''", 'balancing.method: should not be empty, found ""'),
    ("balancing.options=[c]", "balancing.options: should be a mapping (`key: value`)"),
    ("evaluation.every=0", "evaluation.every: should be `epoch` or a number of steps above 0"),
    ("evaluation.select=best", "evaluation.select: should be mean, worst, {task: weight} or task."),
    ("evaluation.select=mood", "evaluation.select: should be `mood.METRIC`"),
    ("evaluation.select=mod.f1", "evaluation.select: there is no task `mod`; did you mean `mood`?"),
    ("evaluation.select={mod: 1}", "evaluation.select: there is no task `mod`; did you mean `mood"),
    ("evaluation.select={mood: 0}", "evaluation.select: should weigh tasks by numbers above 0"),
    ("hub.repo_id=a b", "hub.repo_id: should be `name` or `org/name`, found \"a b\""),
    ("hub.push=always", "hub.push: should be 'never', 'end' or 'checkpoint', found \"always\""),
    ("hub.private=maybe", 'hub.private: should be true or false, found "maybe"'),
]  # fmt: skip


def test_only_datasets_with_words_must_join_them_alike() -> None:
    content = mapping()
    words = {"path": "org/words", "tokens": "words"}
    content["datasets"] |= {"one": {**words, "join": ""}, "two": {**words, "join": ""}}
    content["datasets"]["sst2"]["join"] = "-"
    content["tasks"]["mood"]["dataset"] = ["sst2", "one", "two"]
    recipe = Recipe(**content)
    with pytest.raises(RecipeError, match=r'datasets.two.join: .* "" as in `datasets.one`, found'):
        recipe.with_overrides(["datasets.two.join=null"])


@pytest.mark.parametrize(("override", "fragment"), BAD, ids=[word for word, _ in BAD])
def test_a_mistake_is_told_with_its_place_and_mend(override: str, fragment: str) -> None:
    with pytest.raises(RecipeError, match=r"^[\w.-]+: ") as raised:
        Recipe(**mapping()).with_overrides([override])
    assert fragment in str(raised.value)
    assert "pydantic" not in str(raised.value)


def test_data_files_and_splits_must_meet() -> None:
    local = {"path": "json", "text": "text", "data_files": {"train": "a", "dve": "b"}}
    content = mapping() | {"datasets": {"sst2": local}}
    with pytest.raises(RecipeError, match=r"`data_files.dve` is not one of our splits"):
        Recipe(**content)
    local["splits"] = {"validation": "dve"}
    assert Recipe(**content).datasets["sst2"].splits == {"validation": "dve"}
    local["splits"] = {"validation": "dve", "test": "tst"}
    with pytest.raises(RecipeError, match=r"`splits.test` names `tst`, which has no `data_files`"):
        Recipe(**content)


def test_all_mistakes_are_told_at_once_with_the_file(tmp_path: Path) -> None:
    text = FULL.replace("seed: 13", "sede: 13").replace("epochs: 3", "epochs: 0")
    path = write(tmp_path, text)
    with pytest.raises(RecipeError, match=rf"^{path}: 2 mistakes:\n  .*\n  .*$") as raised:
        Recipe.from_yaml(path)
    assert "\n  sede: unknown key; did you mean `seed`?" in str(raised.value)
    assert "\n  training.epochs: should be" in str(raised.value)
    with pytest.raises(RecipeError, match=f"^{path} and its overrides: hub.push: "):
        Recipe.from_yaml(write(tmp_path, FULL), ["hub.push=later"])


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        Recipe(**mapping()).seed = 3  # type: ignore[misc]


def test_a_recipe_survives_pickling_and_leaves_its_mapping_alone() -> None:
    content = mapping()
    recipe = Recipe(**content)
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert content == mapping()
    assert recipe != Recipe(**mapping() | {"seed": 14})


def test_the_length_is_epochs_or_steps_and_the_override_wins(tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    steps = Recipe.from_yaml(path, ["training.max_steps=100"])
    assert (steps.training.epochs, steps.training.max_steps) == (None, 100)
    back = steps.with_overrides(["training.epochs=2"])
    assert (back.training.epochs, back.training.max_steps) == (2, None)
    assert steps.with_overrides(["training.max_steps=null"]).training.epochs == 3
    with pytest.raises(RecipeError, match="has both `epochs: 2` and `max_steps: 7`; keep one"):
        Recipe.from_yaml(path, ["training.epochs=2", "training.max_steps=7"])


@pytest.mark.parametrize(("rows", "steps"), [(1, 3), (32, 3), (33, 6), (64, 6)])
def test_steps_are_epochs_times_batches_rounded_up(rows: int, steps: int) -> None:
    assert TrainingSpec().steps(rows) == steps
    assert TrainingSpec(max_steps=5).steps(rows) == 5


def test_files_start_from_the_recipe_and_overrides_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "recipes" / "enc").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    text = FULL.replace("encoder: sentence-transformers/all-MiniLM-L6-v2", "encoder: enc")
    words = ["datasets.sst2.data_files.test=other/*.jsonl"]
    recipe = Recipe.from_yaml(write(tmp_path / "recipes", text), words)
    files = recipe.datasets["sst2"].data_files or {}
    assert files["train"] == [str(tmp_path / "recipes/sst2/train.jsonl")]
    assert files["test"] == [str(tmp_path / "here/other/*.jsonl")]
    assert recipe.encoder == str(tmp_path / "recipes/enc")
    assert recipe.output == "runs/sentiment_ner"
    assert recipe.resolved().output == str(tmp_path / "here/runs/sentiment_ner")


def test_a_python_recipe_is_resolved_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    local = {"path": "csv", "text": "text", "data_files": "a.csv"}
    recipe = Recipe(**mapping() | {"datasets": {"sst2": local}})
    assert recipe.datasets["sst2"].data_files == {"train": ["a.csv"]}
    resolved = recipe.resolved()
    assert resolved.datasets["sst2"].data_files == {"train": [str(tmp_path / "a.csv")]}
    monkeypatch.chdir(tmp_path.parent)
    assert resolved.resolved() == resolved


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6) | st.sampled_from(
    ["no", "1", "null", "true", "1e-4", "été", "人", "a: b", "# x", "\u2028"]
)
LABELS = NAMES.filter(str.strip)
RATES = st.floats(1e-12, 1e3, exclude_min=True)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    content = copy.deepcopy(mapping())
    length = draw(st.sampled_from(["epochs", "max_steps"]))
    content["training"] = {
        length: draw(st.integers(1, 10**6)),
        "learning_rate": draw(RATES),
        "trackers": draw(st.lists(NAMES, max_size=2)),
        "early_stopping": draw(st.none() | st.integers(1, 9)),
    }
    content["datasets"]["sst2"] |= {
        "text": draw(NAMES),
        "join": draw(st.just("") | NAMES),
        "splits": {"validation": draw(NAMES | st.floats(0.01, 0.5))},
    }
    content["datasets"]["local"] = {
        "path": "json",
        "tokens": draw(NAMES),
        "data_files": draw(
            st.sampled_from(["a.jsonl", ["b/*.jsonl"], {"train": "hf://x/y.jsonl"}])
        ),
    }
    content["tasks"]["mood"] |= {
        "dataset": ["sst2", "local"],
        "labels": draw(st.none() | NAMES | st.lists(LABELS, min_size=1, max_size=3, unique=True)),
        "map": draw(st.dictionaries(LABELS, LABELS, max_size=2)),
        "label": draw(NAMES | st.dictionaries(NAMES, NAMES, max_size=2)),
        "option": draw(st.none() | st.booleans() | st.integers() | RATES | st.tuples(NAMES, NAMES)),
    }
    select = st.sampled_from(["mean", "worst", "mood.f1", {"mood": 2}])
    content["evaluation"] = {"select": draw(select), "every": draw(st.sampled_from(["epoch", 9]))}
    content["output"] = draw(st.sampled_from(["runs/x", "/runs/y", "a b/ü"]))
    return Recipe(**content)


@settings(deadline=None, max_examples=40)
@given(recipe=recipes())
def test_writing_then_reading_gives_the_resolved_recipe(
    recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    recipe.to_yaml(path)
    written = Recipe.from_yaml(path)
    assert written == recipe.resolved()
    assert written.describe_difference(recipe.resolved()) == []
    before = path.read_bytes()
    written.to_yaml(path)
    assert path.read_bytes() == before


def test_a_written_recipe_says_every_value_in_order(tmp_path: Path) -> None:
    Recipe(**mapping()).to_yaml(tmp_path / "recipe.yaml")
    text = (tmp_path / "recipe.yaml").read_text()
    keys = [line.split(":")[0] for line in text.splitlines() if not line.startswith(" ")]
    assert keys == list(Recipe.model_fields)
    assert "learning_rate: 0.0001" in text


def test_a_changed_recipe_says_what_changed() -> None:
    recipe = Recipe(**mapping())
    words = ["training.learning_rate=2e-4", "tasks.mood.labels=[no]", "tasks.mood.label=mood"]
    assert recipe.describe_difference(recipe.with_overrides(words)) == [
        'tasks.mood.labels: null -> ["no"]',
        'tasks.mood.label: "label" -> "mood"',
        "training.learning_rate: 0.0001 -> 0.0002",
    ]


def test_a_changed_order_of_datasets_is_a_change() -> None:
    tables = {name: {"path": "org/d", "text": "text"} for name in ("a", "b")}
    task = {"type": "text_classification", "dataset": ["a", "b"], "label": "label"}
    one, other = (
        Recipe(encoder="e", datasets={name: tables[name] for name in names}, tasks={"t": task})
        for names in ("ab", "ba")
    )
    assert one.describe_difference(other) == ["datasets: in the order a, b -> b, a"]


def test_local_files_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").touch()
    (tmp_path / "test.csv").touch()

    def recipe(files: Any) -> Recipe:
        local = {"path": "json", "text": "text", "data_files": files}
        return Recipe(**mapping() | {"datasets": {"sst2": local}})

    check_files(recipe(f"{tmp_path}/*.jsonl"))
    check_files(recipe("https://host/train.jsonl"))
    check_files(Recipe(**mapping()))
    with pytest.raises(RecipeError, match=r"did you mean `train.jsonl`") as raised:
        check_files(recipe({"train": f"{tmp_path}/trian.jsonl", "test": f"{tmp_path}/*.json"}))
    assert "datasets.sst2.data_files.train: there is no file" in str(raised.value)
    assert f"datasets.sst2.data_files.test: no file matches {tmp_path}" in str(raised.value)
    with pytest.raises(RecipeError, match="is not a file for `path: json`; write `path: csv`"):
        check_files(recipe(f"{tmp_path}/test.csv"))


def test_importing_the_recipe_is_light() -> None:
    program = (
        "import sys, mtl_nlp.recipe; "
        "print(sorted({'torch', 'transformers', 'datasets', 'numpy', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
