"""A type of the user's own: the documented one trains, reloads and stays out of downloads."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from sklearn.metrics import cohen_kappa_score

from mtl_nlp import MultiTaskModel, Recipe, evaluate, pipeline, train
from mtl_nlp.errors import RecipeError
from mtl_nlp.hub.publish import push_folder
from mtl_nlp.tasks.own import load_own_type
from tests.hub_server import WRITER, HubServer
from tests.runs import tiny_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "own_task_type.md").read_text(encoding="utf-8")
MODULE = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)[0]
LABELS = ["blame", "praise"]
GRADE = {"type": "grades:Grade", "dataset": "chat", "label": "intent", "labels": LABELS}


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    """A recipe file with the documented module beside it."""
    content = tiny_recipe(tmp_path, training__max_steps=4).model_dump()
    content["datasets"].pop("news")
    content["tasks"] = {"grade": {**GRADE, "spread": 0.3}}
    (tmp_path / "grades.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    yield tmp_path / "recipe.yaml"
    sys.modules.pop("grades", None)


def test_the_documented_type_is_short() -> None:
    assert MODULE.count("\n") <= 60


def test_it_trains_resumes_evaluates_and_reloads(written: Path) -> None:
    recipe = Recipe.from_yaml(written)
    run = train(recipe)
    assert run.metrics["test"]["grade"].keys() == {"kappa", "accuracy"}
    assert train(recipe, resume=True).metrics == run.metrics
    again = Recipe.from_yaml(run.path / "recipe.yaml")
    assert evaluate(run.path, again)["test"] == run.metrics["test"]
    own = {"grades:Grade": load_own_type(again.tasks["grade"].type, where="here")}
    predicted = pipeline(run.path, task_types=own)("good film")["grade"]
    assert predicted["label"] in LABELS
    assert MultiTaskModel.from_pretrained(run.path, task_types=own).tasks["grade"].spread == 0.3


def test_a_checkpoint_of_it_is_resumed(written: Path) -> None:
    first = train(
        Recipe.from_yaml(written, ["training.max_steps=2", "training.checkpoint_every=1"])
    )
    (first.path / "metrics.json").unlink()
    (first.path / "model.safetensors").unlink()
    again = train(
        Recipe.from_yaml(written, ["training.max_steps=2", "training.checkpoint_every=1"]),
        resume=True,
    )
    assert again.metrics == first.metrics


def test_a_model_with_a_type_that_is_not_given_loads_without_that_head(written: Path) -> None:
    folder = train(Recipe.from_yaml(written)).path
    sys.modules.pop("grades", None)
    with pytest.warns(UserWarning, match=r"tasks\.grade is left out: its type 'grades:Grade'"):
        model = MultiTaskModel.from_pretrained(folder)
    assert not model.tasks
    assert "grades" not in sys.modules
    model.save_pretrained(folder / "rest")
    assert not MultiTaskModel.from_pretrained(folder / "rest").tasks


def test_the_folder_of_its_module_stays_at_home(written: Path, hub: HubServer) -> None:
    folder = train(Recipe.from_yaml(written)).path
    push_folder(folder, "tester/graded", private=False, token=WRITER)
    sent = hub.files("tester/graded")["recipe.yaml"].decode()
    assert "grades.py:Grade" in sent
    assert str(written.parent) not in sent


def test_its_loss_and_score_are_those_of_the_references(written: Path) -> None:
    task = load_own_type(f"{written.parent}/grades.py:Grade", where="here")(
        name="g", labels=("a", "b", "c")
    )
    logits, labels = torch.randn(5, 3), torch.tensor([0, 2, -100, 1, 1])
    loss = task.loss(logits, labels)
    expected = sum(
        -(torch.tensor([-abs(k - y) / 0.5 for k in range(3)]).softmax(0) * row.log_softmax(0)).sum()
        for row, y in zip(logits, labels.tolist(), strict=True)
        if y >= 0
    )
    torch.testing.assert_close(loss.total, expected)
    assert loss.count == 4
    scores = task.metrics(["a", "b", "c", "c"], ["a", "b", "b", "a"])
    kappa = cohen_kappa_score(["a", "b", "b", "a"], ["a", "b", "c", "c"], weights="quadratic")
    assert scores == {"kappa": pytest.approx(kappa), "accuracy": 0.5}


@pytest.mark.parametrize(
    ("module", "path", "message"),
    [
        ("", "absent:Task", "'absent' cannot be imported: ModuleNotFoundError.*beside the recipe"),
        ("1 / 0", "broken_module.py:T", "cannot be imported: ZeroDivisionError"),
        ("T = 3", "no_type.py:T", "has no task type 'T'; expected a class there"),
        ("", "empty_one.py:T", "has no task type 'T'"),
        (
            MODULE.replace('"grades:Grade"', '"other:Grade"'),
            "misnamed.py:Grade",
            r"expected Grade\.type to be 'misnamed:Grade', .* found 'other:Grade'; write type",
        ),
    ],
)
def test_what_is_no_type_is_refused(tmp_path: Path, module: str, path: str, message: str) -> None:
    if ".py:" in path:
        (tmp_path / path.partition(":")[0]).write_text(module, encoding="utf-8")
        path = str(tmp_path / path)
    with pytest.raises(RecipeError, match=rf"^tasks\.x\.type: .*{message}"):
        load_own_type(path, where="tasks.x.type")
