import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_eval_result
from markdown_it import MarkdownIt

from mtl_nlp.errors import ModelError
from mtl_nlp.hub.card import MARKER, write_card
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.plots import plot_losses
from mtl_nlp.recipe import Recipe
from tests.hub_server import HubServer
from tests.tiny import tiny_encoder, tiny_tokenizer

INTENTS = [f"intent_{i}" for i in range(30)]
PER_TYPE = {"person": {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 1234}}
SCORES: dict[str, Any] = {
    "mood": {"accuracy": 0.87654321, "macro_f1": 0.75},
    "intent": {"accuracy": 0.95, "macro_f1": 0.5},
    "ner": {"f1": 0.4, "precision": 0.5, "recall": 1 / 3, "per_type": PER_TYPE},
    "mean": 0.7,
}
METRICS = {"validation": {**SCORES, "mean": 0.6}, "test": SCORES}
STEP = {"losses": {"mood": 0.5}, "rows": {"sst2": 20, "chats": 12}, "tokens": 700, "seconds": 0.5}
RECIPE: dict[str, Any] = {
    "encoder": "org/encoder",
    "datasets": {
        "sst2": {"path": "stanfordnlp/sst2", "text": "sentence", "splits": {"test": "unseen"}},
        "chats": {
            "path": "json",
            "data_files": {"train": "rows/train.jsonl", "test": "/data/secret/test.jsonl"},
            "tokens": "words",
            "max_rows": {"train": 500},
        },
    },
    "tasks": {
        "mood": {"type": "text_classification", "dataset": "sst2", "label": "label"},
        "intent": {"type": "text_classification", "dataset": "sst2", "label": "intent"},
        "ner": {"type": "token_classification", "dataset": "chats", "tags": "ner", "weight": 0.5},
    },
}
HEADINGS = ["Tasks", "How to use", "Scores", "Data", "Training", "Plots", "Limits", "Versions"]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as save_pretrained leaves it."""
    root = tmp_path_factory.mktemp("model")
    tasks = {
        "mood": {"type": "text_classification", "labels": ["negative", "positive"]},
        "intent": {"type": "text_classification", "labels": INTENTS},
        "ner": {"type": "token_classification", "labels": ["person"], "inputs": ["tokens"]},
    }
    MultiTaskModel.from_encoder(tiny_encoder(root / "encoder"), tasks).save_pretrained(root / "out")
    tiny_tokenizer().save_pretrained(root / "out")
    return root / "out"


@pytest.fixture(scope="module")
def run_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with all that training leaves."""
    run = Path(shutil.copytree(model_folder, tmp_path_factory.mktemp("run") / "run"))
    write_recipe(run, RECIPE)
    (run / "metrics.json").write_text(json.dumps(METRICS))
    steps = [{"step": i + 1, "loss": 0.5, **STEP} for i in range(300)]
    shares = {"sst2": {"planned": 0.6, "drawn": 0.625}, "chats": {"planned": 0.4, "drawn": 0.375}}
    lines = [*steps, {"step": 300, "evaluation": {"validation": SCORES}, "shares": shares}]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    plot_losses(steps, run / "plots" / "losses.png")
    return run


@pytest.fixture
def plain(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "path" / "to" / "my_run"))


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "path" / "to" / "my_run"))


def write_recipe(folder: Path, content: dict[str, Any], **changes: Any) -> None:
    Recipe(**content, output=str(folder), **changes).to_yaml(folder / "recipe.yaml")


def section(card: str, heading: str) -> str:
    return re.split(r"^## ", card.partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0].strip()


def metadata(path: Path) -> dict[str, Any]:
    front = yaml.safe_load(path.read_text().split("---\n")[1])
    assert isinstance(front, dict)
    return front


# A whole run


def test_a_whole_run_has_a_whole_card(run: Path) -> None:
    card = write_card(run)
    assert card.problems == ()
    text = card.path.read_text()
    assert card.path == run / "README.md"
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert "Nothing to tell" not in text
    assert "$" not in text


def test_the_card_says_what_the_folder_says(run: Path) -> None:
    text = write_card(run).path.read_text()
    assert (
        "| `mood` | text classification | text | negative, positive | accuracy 0.8765 on test"
        in text
    )
    assert "| `ner` | f1 | 0.4000 | 0.4000 |" in section(text, "Scores")
    assert "| mean of the tasks |  | 0.6000 | 0.7000 |" in section(text, "Scores")
    assert "| person | 0.5000 | 0.2500 | 0.3333 | 1,234 |" in section(text, "Scores")
    data = section(text, "Data")
    assert "[stanfordnlp/sst2](https://huggingface.co/datasets/stanfordnlp/sst2)" in data
    assert "json files; train: `train.jsonl`; test: `test.jsonl`" in data
    assert "6,000 (62.5%, planned 60.0%)" in data
    assert "validation is 10% of train" in data
    assert "at most 500 rows" in data
    training = section(text, "Training")
    assert "300 optimizer steps over 210,000 tokens (without padding), in 2 min 30 s" in training
    assert "| `training.learning_rate` | `0.0001` |" in training
    assert "| `tasks.ner.weight` | `0.5` |" in training
    assert section(text, "Plots") == "![losses](plots/losses.png)"
    assert "seed 13" in section(text, "Limits")


def test_no_path_of_the_machine_is_told(run: Path) -> None:
    text = write_card(run).path.read_text()
    for place in (str(run.parent.parent), str(Path.cwd()), str(Path.home()), "/data/", "secret"):
        assert place not in text
    assert re.findall(r"(?:^|[\s`(\"'])(/[^\s`]+|~/\S+)", text) == []


def test_many_labels_are_folded_and_none_is_lost(run: Path) -> None:
    tasks = section(write_card(run).path.read_text(), "Tasks")
    table, _, fold = tasks.partition("<details>")
    assert "| 30 labels, below |" in table
    assert ", ".join(INTENTS) in fold


def test_the_tables_and_pictures_are_markdown(run: Path) -> None:
    text = write_card(run).path.read_text().partition(MARKER)[2]
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert html.count("<table>") == 6  # tasks, scores, two of per_type, data, settings
    assert '<img src="plots/losses.png" alt="losses" />' in html
    cells = [len(re.findall("<t[hd]", row)) for row in re.findall("<tr>.*?</tr>", html, re.DOTALL)]
    assert set(cells) == {2, 4, 5}


def test_the_code_in_the_card_runs(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = section(write_card(run).path.read_text(), "How to use")
    (code,) = re.findall(r"```python\n(.*?)```", usage, re.DOTALL)
    monkeypatch.chdir(run.parents[2])
    exec(compile(code, "card", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert [line[:9] for line in printed[:2]] == ["{'label':"] * 2
    assert printed[2].startswith("[")


def test_the_card_names_the_repository(run: Path) -> None:
    text = write_card(run, repo_id="org/my-model").path.read_text()
    assert "\n# my-model\n" in text
    assert 'pipeline("org/my-model")' in text
    commands = [shlex.split(line) for line in re.findall(r"^mtl-nlp .+$", text, re.MULTILINE)]
    assert [command[1:3] for command in commands] == [
        ["predict", "org/my-model"],
        ["export", "org/my-model"],
    ]
    assert metadata(run / "README.md")["model-index"][0]["name"] == "my-model"


@pytest.mark.parametrize(("push", "named"), [("end", "org/planned"), ("never", "path/to/my_run")])
def test_the_recipes_repository_is_named_where_it_will_be_pushed(
    run: Path, push: str, named: str
) -> None:
    write_recipe(run, RECIPE, hub={"repo_id": "org/planned", "push": push})
    assert f'pipeline("{named}")' in write_card(run).path.read_text()


@pytest.mark.parametrize("on_pairs", [(0,), (1,), (0, 1, 2)])
def test_tasks_on_pairs_are_called_with_a_pair_and_the_others_without(
    run: Path,
    on_pairs: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = json.loads((run / "config.json").read_text())
    for i in on_pairs:
        config["tasks"][i]["inputs"] = ["text", "text_pair"]
    (run / "config.json").write_text(json.dumps(config))
    usage = section(write_card(run).path.read_text(), "How to use")
    (code,) = re.findall(r"```python\n(.*?)```", usage, re.DOTALL)
    assert 'pipe({"text": "A text of your own.", "text_pair": "The text' in code
    monkeypatch.chdir(run.parents[2])
    exec(compile(code, "card", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 3
    commands = re.findall(r"mtl-nlp predict .*--input (\S+)", usage)
    assert "rows.jsonl" in commands
    assert ("texts.txt" in commands) == (len(on_pairs) < 3)


def test_heads_that_are_not_stock_are_not_offered_for_export(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    for task in config["tasks"]:
        task["stock"] = False
    (run / "config.json").write_text(json.dumps(config))
    text = write_card(run).path.read_text()
    assert "none can be exported" in text
    assert "mtl-nlp export" not in text


# Metadata


def test_the_metadata_is_what_the_folder_says(run: Path) -> None:
    front = metadata(write_card(run).path)
    assert front["library_name"] == "mtl_nlp"
    assert front["base_model"] == "org/encoder"
    assert front["datasets"] == ["stanfordnlp/sst2"]
    assert front["tags"] == ["multi-task", "text-classification", "token-classification"]
    assert front["metrics"] == ["accuracy", "f1", "precision", "recall"]
    assert not front.keys() & {"license", "language", "pipeline_tag"}


def flat_results(path: Path) -> dict[tuple[str | None, ...], Any]:
    results = ModelCard.load(path).data.eval_results
    assert results
    return {
        (one.task_name, one.task_type, one.dataset_type, one.dataset_split, one.metric_name): (
            one.metric_value
        )
        for one in results
    }


def test_the_scores_survive_the_hubs_own_reader(run: Path) -> None:
    """Also those of two tasks of one type on one dataset, which the library would join."""
    found = flat_results(write_card(run).path)
    kinds = {
        "mood": ("text-classification", "stanfordnlp/sst2", "unseen"),
        "intent": ("text-classification", "stanfordnlp/sst2", "unseen"),
        "ner": ("token-classification", "chats", "test"),
    }
    assert found == {
        (task, *kind, f"{task} {metric}"): value
        for task, kind in kinds.items()
        for metric, value in SCORES[task].items()
        if metric != "per_type"
    }
    assert {type(value) for value in found.values()} == {float}


def test_an_entry_is_the_one_that_huggingface_hub_makes(run: Path) -> None:
    entry = metadata(write_card(run).path)["model-index"][0]["results"][2]
    metric = entry["metrics"][0]
    expected = metadata_eval_result(
        model_pretty_name="my_run",
        task_pretty_name="ner",
        task_id="token-classification",
        metrics_pretty_name="ner f1",
        metrics_id="f1",
        metrics_value=0.4,
        dataset_pretty_name="chats",
        dataset_id="chats",
        dataset_split="test",
    )["model-index"][0]["results"][0]
    del expected["metrics"][0]["verified"]
    assert {**entry, "metrics": [metric]} == expected


def test_the_hub_takes_the_card(hub: HubServer, run: Path) -> None:
    ModelCard.load(write_card(run).path).validate()
    assert [request.status for request in hub.asked("POST /api/validate-yaml")] == [200]


def test_a_task_without_test_scores_is_judged_on_validation(run: Path) -> None:
    test = {name: scores for name, scores in SCORES.items() if name != "ner"}
    (run / "metrics.json").write_text(json.dumps({**METRICS, "test": test}))
    path = write_card(run).path
    assert "f1 0.4000 on validation" in path.read_text()
    assert {key[0]: key[3] for key in flat_results(path)} == {
        "mood": "unseen",
        "intent": "unseen",
        "ner": "validation",
    }


def test_scores_of_a_task_on_two_datasets_are_of_both(run: Path) -> None:
    tasks = {**RECIPE["tasks"], "mood": {**RECIPE["tasks"]["mood"], "dataset": ["sst2", "chats"]}}
    write_recipe(run, {**RECIPE, "tasks": tasks})
    assert {key[2] for key in flat_results(write_card(run).path) if key[0] == "mood"} == {
        "sst2-chats"
    }


def test_numbers_of_a_further_metric_are_indexed_under_its_name(run: Path) -> None:
    ner = {"f1": 0.5, "seqeval.overall_accuracy": 0.75, "seqeval.overall_f1": 0.5}
    (run / "metrics.json").write_text(json.dumps({"test": {"ner": ner}}))
    card = write_card(run)
    assert card.problems == ()
    front = metadata(card.path)
    assert front["metrics"] == ["f1", "seqeval"]
    (entry,) = front["model-index"][0]["results"]
    assert [(one["type"], one["name"], one["value"]) for one in entry["metrics"]] == [
        ("f1", "ner f1", 0.5),
        ("seqeval", "ner seqeval.overall_accuracy", 0.75),
        ("seqeval", "ner seqeval.overall_f1", 0.5),
    ]


def test_scores_that_are_no_numbers_are_shown_as_none_and_not_indexed(run: Path) -> None:
    scores = {"mood": {"accuracy": float("nan"), "macro_f1": "high", "mcc": None}}
    (run / "metrics.json").write_text(json.dumps({"test": scores}))
    card = write_card(run)
    assert card.problems == ()
    assert "| `mood` | accuracy | - |" in card.path.read_text()
    assert "model-index" not in metadata(card.path)


def test_the_model_that_training_went_on_from_is_told(run: Path) -> None:
    assert "went on from" not in write_card(run).path.read_text()
    write_recipe(run, {**RECIPE, "warm_start": {"model": "org/first"}})
    path = write_card(run, overwrite=True).path
    told = "weights of [org/first](https://huggingface.co/org/first)."
    assert f"Training went on from the {told}" in path.read_text()
    assert metadata(path)["base_model"] == "org/encoder"


@pytest.mark.parametrize(
    ("encoder", "base", "told"),
    [
        ("org/encoder", "org/encoder", "[org/encoder](https://huggingface.co/org/encoder)"),
        ("bert-base-cased", "bert-base-cased", "huggingface.co/bert-base-cased"),
        ("org/encoder@v2", "org/encoder", "[org/encoder@v2](https://huggingface.co/org/encoder)"),
        ("package:gt_minilm", None, "files in the Python package `gt_minilm`"),
        ("/home/me/models/minilm", None, "a local folder, `minilm`"),
        ("~/models/minilm", None, "a local folder, `minilm`"),
        (r"C:\models\minilm", None, "a local folder, `minilm`"),
    ],
)
def test_only_an_encoder_of_the_hub_is_a_base_model(
    run: Path, encoder: str, base: str | None, told: str
) -> None:
    write_recipe(run, {**RECIPE, "encoder": encoder})
    path = write_card(run).path
    assert metadata(path).get("base_model") == base
    assert told in path.read_text()


def test_one_kind_of_task_is_the_models_pipeline(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["tasks"] = config["tasks"][:2]
    (run / "config.json").write_text(json.dumps(config))
    assert metadata(write_card(run).path)["pipeline_tag"] == "text-classification"


@pytest.mark.parametrize(
    ("task", "pipeline"),
    [
        ({"type": "masked_language_modeling"}, "fill-mask"),
        ({"type": "multiple_choice"}, "multiple-choice"),
        ({"type": "question_answering"}, "question-answering"),
        ({"type": "sentence_similarity"}, "sentence-similarity"),
        ({"type": "span_classification", "labels": ["person"]}, "token-classification"),
        ({"type": "text_generation"}, "text2text-generation"),
        ({"type": "text_generation", "target_language": "de_DE"}, "translation"),
        ({"type": "dependency_parsing", "labels": ["root"]}, None),
    ],
)
def test_a_kind_of_task_has_the_hubs_name_where_there_is_one(
    run: Path, task: dict[str, Any], pipeline: str | None
) -> None:
    config = json.loads((run / "config.json").read_text())
    config["tasks"] = [{**task, "name": "only"}]
    (run / "config.json").write_text(json.dumps(config))
    front = metadata(write_card(run).path)
    assert front.get("pipeline_tag") == pipeline
    assert (pipeline or task["type"].replace("_", "-")) in front["tags"]


def test_options_that_are_on_are_told_and_the_others_not(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["tasks"][1]["after"] = ["mood"]
    (run / "config.json").write_text(json.dumps(config))
    text = write_card(run).path.read_text()
    assert "| `intent` | text classification (after: mood) |" in text
    assert "after_gradient" not in text
    assert "layers: last" not in text


# Pieces that are missing or broken

LOST = {  # what a card without the piece cannot tell
    "config.json": {"Tasks"},
    "recipe.yaml": {"Data", "Training"},
    "metrics.json": {"Scores"},
    "log.jsonl": {"Training"},
    "plots": {"Plots"},
}
BROKEN = [
    ("config.json", b"{"),
    ("config.json", b'{"model_type": "bert"}'),
    ("config.json", b'{"model_type": "mtl_nlp", "tasks": [{"name": "x", "type": "unheard_of"}]}'),
    ("config.json", b"[]"),
    ("recipe.yaml", b"encoder: [\n"),
    ("recipe.yaml", b"encoder: org/encoder\n"),
    ("recipe.yaml", b"\xff\xfe"),
    ("metrics.json", b"{}"),
    ("metrics.json", b'{"test": {"mood": 0.5}}'),
    ("metrics.json", b"[1, 2]"),
    ("log.jsonl", b""),
    ("log.jsonl", b"nonsense\n"),
    ("log.jsonl", b'{"step": 1, "loss": 1.0}\n'),
    ("plots/losses.png", b"no picture"),
]


def assert_only_lost(card: str, piece: str, fault: str) -> None:
    told = f"*Nothing to tell here: `{piece}` {fault}.*"
    assert {heading for heading in HEADINGS if told in section(card, heading)} >= LOST[piece]
    for heading in set(HEADINGS) - LOST[piece] - {"How to use"}:
        assert "Nothing to tell" not in section(card, heading)
    assert "could not be made" not in card


@pytest.mark.parametrize("piece", LOST)
def test_without_a_piece_the_rest_is_told(run: Path, piece: str) -> None:
    place = run / piece
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    card = write_card(run)
    assert card.problems == (f"{piece}: is not in the folder",)
    assert_only_lost(card.path.read_text(), piece, "is not in the folder")
    assert ModelCard.load(card.path).data.library_name == "mtl_nlp"


@pytest.mark.parametrize(("place", "content"), BROKEN)
def test_with_a_broken_piece_the_rest_is_told(run: Path, place: str, content: bytes) -> None:
    (run / place).write_bytes(content)
    card = write_card(run)
    piece = place.partition("/")[0]
    (problem,) = card.problems
    assert re.match(rf"{re.escape(piece)}: \w*(?:Error|Scanner): .", problem)
    text = card.path.read_text()
    assert_only_lost(text, piece, "could not be read")
    assert str(run) not in text
    assert ModelCard.load(card.path).data.library_name == "mtl_nlp"


def test_a_section_that_fails_on_what_nobody_foresaw_fails_alone(run: Path) -> None:
    odd = {"validation": {"ner": {"per_type": 3}}, "test": {"ner": {"per_type": PER_TYPE}}}
    (run / "metrics.json").write_text(json.dumps(odd))
    card = write_card(run)
    (problem,) = card.problems
    assert problem.startswith("scores of the card: AttributeError: ")
    text = card.path.read_text()
    assert section(text, "Scores") == "*This part could not be made.*"
    assert "sst2" in section(text, "Data")


def test_weights_that_cannot_be_read_are_not_counted(run: Path) -> None:
    assert "parameters" in write_card(run).path.read_text()
    (run / "model.safetensors").write_bytes(b"")
    assert "parameters" not in write_card(run).path.read_text()


def test_a_plain_saved_model_has_a_card(plain: Path) -> None:
    card = write_card(plain)
    assert [problem.partition(":")[0] for problem in card.problems] == [
        "metrics.json",
        "recipe.yaml",
        "log.jsonl",
        "plots",
    ]
    text = card.path.read_text()
    assert (
        "One shared `bert` encoder with a head for each of 3 tasks: `mood`, `intent`, `ner`" in text
    )
    assert "Score" not in section(text, "Tasks")
    assert metadata(card.path)["tags"] == [
        "multi-task",
        "text-classification",
        "token-classification",
    ]
    assert str(plain.parents[2]) not in text


def test_a_plain_saved_model_of_a_hub_encoder_names_it(plain: Path) -> None:
    config = json.loads((plain / "config.json").read_text())
    config["encoder_config"]["_name_or_path"] = "org/encoder"
    (plain / "config.json").write_text(json.dumps(config))
    assert metadata(write_card(plain).path)["base_model"] == "org/encoder"


def test_a_checkpoint_is_named_by_run_and_step(plain: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "sentiment" / "checkpoints" / "step-000200"
    shutil.copytree(plain, checkpoint)
    assert "\n# sentiment step-000200\n" in write_card(checkpoint).path.read_text()


# Names that Markdown would read as its own

ODD = ["a|b", "x\ny", "<b>", "`tick`", "[link](x)", "$HOME", "ünïcödé 🙂", "&lt;", "\ud800"]


def test_odd_label_names_stay_in_their_cell(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["tasks"][0]["labels"] = ODD
    (run / "config.json").write_text(json.dumps(config))
    card = write_card(run)
    assert card.problems == ()
    html = MarkdownIt("commonmark").enable("table").render(section(card.path.read_text(), "Tasks"))
    shown = "a|b, x y, &lt;b&gt;, `tick`, [link](x), $HOME, ünïcödé 🙂, &amp;lt;, ?"
    assert f"<td>{shown}</td>" in html


# Writing


@pytest.mark.parametrize("own", ["# My model\n", "---\nlicense: mit\n---\n", b"\xff\xfe\x00"])
def test_a_persons_own_text_stays(run: Path, own: str | bytes) -> None:
    content = own.encode() if isinstance(own, str) else own
    (run / "README.md").write_bytes(content)
    with pytest.raises(ModelError, match=r"README\.md is a person's own text.*move it away"):
        write_card(run)
    assert (run / "README.md").read_bytes() == content
    write_card(run, overwrite=True)
    assert MARKER in (run / "README.md").read_text()


def test_a_card_is_written_anew_and_the_same(run: Path) -> None:
    first = write_card(run).path.read_bytes()
    assert write_card(run).path.read_bytes() == first


def test_a_declared_licence_and_language_stay(run: Path) -> None:
    path = write_card(run).path
    declared = "---\nlicense: mit\nlanguage: [de, 'no']\n"
    path.write_text(path.read_text().replace("---\n", declared, 1))
    front = metadata(write_card(run).path)
    assert (front["license"], front["language"]) == ("mit", ["de", "no"])
    assert front["base_model"] == "org/encoder"
    limits = section(path.read_text(), "Limits")
    assert "licence" not in limits
    assert "No language" not in limits


def test_metadata_that_a_person_broke_are_made_anew(run: Path) -> None:
    path = write_card(run).path
    good = path.read_bytes()
    path.write_bytes(good.replace(b"---\n", b"---\nlicense: [\n", 1))
    assert write_card(run).path.read_bytes() == good


@pytest.mark.parametrize("content", [None, "weights.bin"])
def test_a_folder_without_a_model_is_refused(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "empty"
    if content:
        folder.mkdir()
        (folder / content).touch()
    with pytest.raises(ModelError, match=r"is no model folder: expected config\.json"):
        write_card(folder)
    assert not (folder / "README.md").exists()


@pytest.mark.parametrize(
    ("config", "found"),
    [({"model_type": "bert"}, "'bert'"), ({"word_embedding_dimension": 384}, "None")],
)
def test_another_model_has_no_card_of_ours(
    tmp_path: Path, config: dict[str, Any], found: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(
        ModelError, match=rf"expected model_type 'mtl_nlp' .* found .*{found}; name"
    ):
        write_card(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "metrics.json"}


def test_a_card_that_cannot_be_written_leaves_nothing_behind(run: Path) -> None:
    (run / "README.md").mkdir()
    before = sorted(path.name for path in run.iterdir())
    with pytest.raises(ModelError, match=r"README\.md: the card cannot be written: .*mend that"):
        write_card(run, overwrite=True)
    assert sorted(path.name for path in run.iterdir()) == before
