"""A recipe may name metrics of the Hub: runs compute them beside the tasks' own."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtl_nlp import check, evaluate, train
from mtl_nlp.cli import main
from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks import build_task
from mtl_nlp.tasks.text_classification import TextClassification
from mtl_nlp.training.folder import Run
from mtl_nlp.training.further_metrics import FurtherMetrics, load_further_metrics
from tests.metric_scripts import TAGS, metric_folder
from tests.ranks import Ranks, told
from tests.runs import log_of, tiny_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
RIGHT = "sum(p == r for p, r in zip(predictions, references))"
AGREEMENT = f'return {{"agreement": {RIGHT} / len(predictions)}}'
WORDS = 'return {"words": sum(map(len, references)), "tags": sorted({*sum(references, [])})}'
BROKEN = 'raise RuntimeError("no\\nscore\\n\\ntoday")'
TASK = TextClassification(name="mood", labels=("bad", "good"))


def with_metrics(recipe: Recipe, **metrics: Sequence[str]) -> Recipe:
    """A recipe with further metrics of its tasks."""
    content = recipe.model_dump()
    for task, names in metrics.items():
        content["tasks"][task]["metrics"] = list(names)
    content["training"] = {k: v for k, v in content["training"].items() if v is not None}
    return Recipe(**content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("further")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Recipe:
    return tiny_recipe(folder, training__max_steps=2, evaluation__every=1)


@pytest.fixture(scope="module")
def recipe(folder: Path, plain: Recipe) -> Recipe:
    agreement = metric_folder(folder, "agreement", compute=AGREEMENT)
    words = metric_folder(folder, "words_of", kind=TAGS, compute=WORDS)
    broken = metric_folder(folder, "broken", compute=BROKEN)
    return with_metrics(plain, intent=[agreement, broken], ner=[words])


@pytest.fixture(scope="module")
def run(recipe: Recipe) -> Run:
    return train(recipe)


def loaded(recipe: Recipe, folder: Path, compute: str, said: list[str]) -> FurtherMetrics:
    """The metrics of a recipe whose task ``intent`` is scored by a statement."""
    name = metric_folder(folder, "metric", compute=compute)
    return load_further_metrics(with_metrics(recipe, intent=[name]), said.append)


def scores(further: FurtherMetrics, predictions: str, references: str) -> Mapping[str, float]:
    task = TextClassification(name="intent", labels=("a", "b"))
    return further.scores(task, list(predictions), list(references))


def test_a_runs_metrics_hold_them_after_the_tasks_own(run: Run, recipe: Recipe) -> None:
    assert json.loads((run.path / "metrics.json").read_text()) == run.metrics
    for split in ("validation", "test"):
        intent, ner = run.metrics[split]["intent"], run.metrics[split]["ner"]
        assert list(intent) == ["accuracy", "macro_f1", "weighted_f1", "mcc", "agreement"]
        assert intent["agreement"] == intent["accuracy"]
        assert list(ner) == ["f1", "precision", "recall", "per_type", "words_of.words"]
        assert run.metrics[split]["topic"].keys() == {"accuracy", "macro_f1", "weighted_f1", "mcc"}
    rows = [
        json.loads(line)
        for name in ("chat", "news")
        for line in Path(recipe.datasets[name].data_files["test"][0]).read_text().splitlines()
    ]
    assert run.metrics["test"]["ner"]["words_of.words"] == sum(len(r["tags"] or ()) for r in rows)


def test_every_evaluation_has_them(run: Run) -> None:
    found = [r["evaluation"]["validation"] for r in log_of(run.path) if "evaluation" in r]
    assert len(found) == 2
    for evaluation in found:
        assert evaluation["intent"]["agreement"] == evaluation["intent"]["accuracy"]
        assert evaluation["ner"]["words_of.words"] > 0


def test_the_card_shows_them(run: Run) -> None:
    card = (run.path / "README.md").read_text()
    words = f"{run.metrics['test']['ner']['words_of.words']:,}"
    assert [line for line in card.splitlines() if "words_of.words |" in line and words in line]
    assert "- words_of\n" in card  # in the list of metrics that the Hub indexes


def test_they_change_nothing_else(run: Run, plain: Recipe, tmp_path: Path) -> None:
    without = train(plain.with_overrides([f"output={tmp_path / 'run'}"]))
    for split, expected in without.metrics.items():
        found = run.metrics[split]
        assert found.keys() == expected.keys()
        assert found["mean"] == expected["mean"]
        for task in ("intent", "ner", "topic"):
            assert {metric: found[task][metric] for metric in expected[task]} == expected[task]
    weights = (path / "model.safetensors" for path in (run.path, without.path))
    assert len({file.read_bytes() for file in weights}) == 1


def test_evaluating_gives_what_the_run_gave(
    run: Run, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(run.path, recipe) == {"test": run.metrics["test"]}
    output = capsys.readouterr()
    assert output.out == ""
    note = "note: tasks.intent.metrics: agreement, broken: a metric is a program by its author"
    assert output.err.count(note) == 1
    assert output.err.count("'broken' failed") == 1


def test_the_command_gives_them_as_one_json_document(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chatty = metric_folder(tmp_path, "chatty", compute="print('hello'); return {'chatty': 1}")
    words = ["evaluate", str(run.path), str(run.path / "recipe.yaml"), "--json"]
    assert main([*words, f"tasks.topic.metrics=[{chatty}]"]) == 0
    expected = run.metrics["test"]
    topic = {**expected["topic"], "chatty": 1}
    output = capsys.readouterr()
    assert json.loads(output.out) == {"test": {**expected, "topic": topic}}
    assert "note: tasks.topic.metrics: chatty: a metric is a program by its author" in output.err
    assert main(words[:-1]) == 0
    assert "words_of.words" in capsys.readouterr().out


def test_one_that_fails_is_told_once_and_costs_only_itself(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe.with_overrides([f"output={tmp_path / 'run'}"]))
    told = capsys.readouterr().err
    line = "tasks.intent.metrics: 'broken' failed, and its scores are left out where it does: "
    assert told.count("'broken' failed") == 1
    assert line + "RuntimeError: no score today\n" in told


def test_checking_loads_them_and_says_that_they_are_programs(recipe: Recipe, folder: Path) -> None:
    warnings = check(recipe)["warnings"]
    assert (
        "tasks.ner.metrics: words_of: a metric is a program by its author, and is executed on this"
        " machine"
    ) in warnings
    with pytest.raises(RecipeError, match=r"tasks\.ner\.metrics: expected metric 'nosuchmetric'"):
        check(with_metrics(recipe, ner=["nosuchmetric"]))


@pytest.mark.parametrize(
    ("compute", "kept"),
    [
        ("import numpy; return {'metric': numpy.float32(0.5)}", {"metric": 0.5}),
        ("import numpy; return {'n': numpy.int64(3), 'x': 1}", {"metric.n": 3, "metric.x": 1}),
        ("import numpy; return {'n': numpy.array(2.0)}", {"metric.n": 2.0}),
        ("import torch; return {'n': torch.tensor(7)}", {"metric.n": 7}),
        ("return {'metric': 1, 'by_label': [1, 2], 'more': {'a': 1}}", {"metric": 1}),
        ("return {'metric': float('nan'), 'x': float('inf'), 'ok': True, 'n': 1}", {"metric.n": 1}),
        ("return {'n': len(predictions), 'text': 'x', 'none': None}", {"metric.n": 3}),
    ],
)  # fmt: skip
def test_finite_numbers_are_kept_as_plain_ones(
    plain: Recipe, tmp_path: Path, compute: str, kept: dict[str, float]
) -> None:
    said: list[str] = []
    found = scores(loaded(plain, tmp_path, compute, said), "aba", "abb")
    assert found == kept
    assert {type(value) for value in found.values()} <= {int, float}
    assert json.loads(json.dumps(found)) == kept
    assert said == []


@pytest.mark.parametrize(
    ("compute", "reason"),
    [
        ("raise KeyError('x')", "KeyError: 'x'"),
        ("return None", "TypeError: expected its scores by name, found None"),
        ("return {'metric': float('nan')}", "ValueError: it gave no finite number"),
        ("return {'metric': 10 ** 400}", "OverflowError: "),
    ],
)
def test_what_goes_wrong_is_told_once(
    plain: Recipe, tmp_path: Path, compute: str, reason: str
) -> None:
    said: list[str] = []
    further = loaded(plain, tmp_path, compute, said)
    for _ in range(3):
        assert scores(further, "ab", "bb") == {}
    assert len(said) == 1
    assert said[0].startswith("tasks.intent.metrics: 'metric' failed, and its scores are left out")
    assert reason in said[0]


def test_a_failure_leaves_nothing_behind_for_the_next_time(plain: Recipe, tmp_path: Path) -> None:
    said: list[str] = []
    further = loaded(plain, tmp_path, "return {'rows': 1 / (len(predictions) > 1)}", said)
    assert scores(further, "a", "b") == {}
    assert scores(further, "aa", "ab") == {"metric.rows": 1.0}
    name = metric_folder(tmp_path, "rows", compute="return {'rows': len(predictions)}")
    rows = load_further_metrics(with_metrics(plain, intent=[name]), said.append)
    task = _Unfit(name="intent", labels=("a", "b"))
    assert rows.scores(task, ["a", "a", "x"], ["a", "b", "a"]) == {}
    assert "'rows' failed" in said[-1]
    assert scores(rows, "ab", "ab") == {"rows": 2}


class _Unfit(TextClassification):
    """Gives metrics something that they cannot take, at the last row only."""

    def hub_values(
        self, predictions: Sequence[str], references: Sequence[str]
    ) -> tuple[list[Any], list[Any]]:
        return [*range(len(predictions) - 1), "no number"], [*range(len(references))]


def test_what_a_metric_prints_is_no_result(
    plain: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    further = loaded(plain, tmp_path, "print('hello'); return {'metric': 1}", said)
    assert scores(further, "a", "b") == {"metric": 1}
    assert capsys.readouterr() == ("", "hello\n")


def test_chance_is_the_same_every_time(plain: Recipe, tmp_path: Path) -> None:
    compute = "import numpy; return {'metric': float(numpy.random.random())}"
    name = metric_folder(tmp_path, "metric", compute=compute)
    found = []
    for state in (1, 2):
        np.random.seed(state)  # from which evaluate takes its own seed
        further = load_further_metrics(with_metrics(plain, intent=[name]))
        found += [scores(further, "a", "b"), scores(further, "a", "b")]
    assert found[0]["metric"] > 0
    assert found == found[:1] * 4


def test_a_label_that_train_lacks_counts_as_an_error(plain: Recipe, tmp_path: Path) -> None:
    said: list[str] = []
    further = loaded(plain, tmp_path, AGREEMENT.replace('"agreement"', '"metric"'), said)
    predictions, references = list("abab"), list("axyb")
    own = TextClassification(name="intent", labels=("a", "b")).metrics(predictions, references)
    assert scores(further, "abab", "axyb") == {"metric": own["accuracy"]}
    assert math.isclose(own["accuracy"], 0.5)


def test_without_further_metrics_nothing_is_loaded(plain: Recipe) -> None:
    further = load_further_metrics(plain)
    assert further.notes == []
    assert further.scores(TASK, ["good"], ["bad"]) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"imports": "import not_to_be_had"}, "a package that is not installed: .*not_to_be_had"),
        ({"imports": "1 / 0"}, "its program fails with ZeroDivisionError: .* leave the metric out"),
        ({"imports": "x = = 1"}, "its program fails with SyntaxError"),
        ({"inputs": ("data",)}, "takes data, but a run has predictions and references only"),
    ],
)  # fmt: skip
def test_one_that_cannot_work_is_refused_before_training(
    plain: Recipe, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    wrong = with_metrics(plain, intent=[metric_folder(tmp_path, "bad", **options)])
    output = tmp_path / "run"
    with pytest.raises(RecipeError, match=rf"^tasks\.intent\.metrics: metric '.*bad'.*{message}"):
        train(wrong.with_overrides([f"output={output}"]))
    assert not output.exists()


def test_one_computed_anyway_is_refused_before_anything_is_executed(
    plain: Recipe, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    first = metric_folder(tmp_path, "first", imports=f"open({str(trace)!r}, 'w').close()")
    with pytest.raises(RecipeError, match=r"tasks\.topic\.metrics: 'accuracy' is computed anyway"):
        load_further_metrics(with_metrics(plain, intent=[first], topic=["accuracy"]))
    assert not trace.exists()
    load_further_metrics(with_metrics(plain, intent=[first]))
    assert trace.exists()


def test_the_documented_metric_works_as_it_stands(plain: Recipe, tmp_path: Path) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "gravity").mkdir()
    (tmp_path / "gravity" / "gravity.py").write_text(script)
    recipe = with_metrics(plain, intent=[str(tmp_path / "gravity")])
    said: list[str] = []
    found = load_further_metrics(recipe, said.append).scores(
        TextClassification(name="intent", labels=("low", "middle", "high")),
        ["low", "low", "high"],
        ["low", "high", "middle"],
    )
    assert found == {"gravity": 1.0}


def test_the_documented_metrics_are_those_of_the_tasks() -> None:
    rows = re.findall(r"^\| `(\w+)`(?:, (.*?))? \| `(.*)` \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) >= 3
    for name, option, metrics in rows:
        options = {"scheme": "none"} if option == "`scheme: none`" else {}
        task = build_task("t", name, options, where="t")
        assert task.metric_names == tuple(metrics.split(", "))


@pytest.mark.slow
def test_several_processes_give_the_same(run: Run, recipe: Recipe, tmp_path: Path) -> None:
    shared = recipe.with_overrides([f"output={tmp_path / 'run'}"])
    assert Ranks(shared).join() == [0, 0], told(tmp_path / "run")
    assert told(tmp_path / "run").count("'broken' failed") == 1
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics.keys() == run.metrics.keys()
    for split, tasks in metrics.items():
        assert tasks["intent"]["agreement"] == tasks["intent"]["accuracy"]
        words = [one[split]["ner"]["words_of.words"] for one in (metrics, run.metrics)]
        assert words[0] == words[1]
