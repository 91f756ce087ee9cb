import json
from pathlib import Path
from typing import Any

import pytest

from mtl_nlp.errors import UserError
from mtl_nlp.recipe import Recipe
from mtl_nlp.training.folder import OutputFolder
from mtl_nlp.training.log import RunLog

PNG = b"\x89PNG"


def recipe(**changes: Any) -> Recipe:
    content = {
        "encoder": "org/encoder",
        "datasets": {"d": {"path": "org/d", "text": "text"}},
        "tasks": {"t": {"type": "text_classification", "dataset": "d", "label": "label"}},
    }
    return Recipe(**{**content, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    """The folder of a run that has begun."""
    begun = OutputFolder(tmp_path / "runs" / "one")
    begun.begin(recipe(), overwrite=False)
    with RunLog(begun.path / "log.jsonl") as log:
        record = {"step": 1, "loss": 1.0, "losses": {"t": 1.0}, "rows": {"d": 4}}
        log.write({**record, "grad_norm": 1.0, "learning_rate": 0.1, "tokens": 5, "seconds": 1.0})
        scores = {"t": {"accuracy": 0.5}, "mean": 0.5}
        log.write({"step": 1, "evaluation": {"validation": scores}})
    return begun


@pytest.fixture
def best(folder: OutputFolder) -> Path:
    path = folder.path / "checkpoints" / "step-000001"
    path.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "state.json", "optimizer.pt"):
        (path / name).write_text(name)
    return path


def finish(folder: OutputFolder, best: Path) -> None:
    metrics = {"test": {"t": {"accuracy": 0.5}, "mean": 0.5}}
    folder.finish(best, metrics, {"t": "accuracy"}, 1, {"d": 1}, {"d": 10})


@pytest.mark.parametrize("resume", [True, False])
def test_a_new_or_empty_folder_is_fine(tmp_path: Path, resume: bool) -> None:
    OutputFolder(tmp_path).check(recipe(), resume=resume, overwrite=False)
    OutputFolder(tmp_path / "a" / "b").check(recipe(), resume=resume, overwrite=not resume)


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="is not empty and holds no run; name another folder"):
        OutputFolder(tmp_path).check(recipe(), resume=False, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(UserError, match="run is a file; name a folder"):
        OutputFolder(tmp_path / "run").check(recipe(), resume=False, overwrite=True)


def test_a_run_is_not_written_over_by_mistake(folder: OutputFolder) -> None:
    with pytest.raises(UserError, match=r"holds a run; go on with --resume, replace it with"):
        folder.check(recipe(), resume=False, overwrite=False)
    folder.check(recipe(), resume=False, overwrite=True)
    folder.check(recipe(), resume=True, overwrite=False)


def test_another_recipe_is_not_resumed_and_its_changes_are_told(folder: OutputFolder) -> None:
    changed = recipe(seed=14, training={"learning_rate": 0.5, "keep_checkpoints": 9})
    message = r"not the one of .*: seed: 13 -> 14; training\.learning_rate: 0\.0001 -> 0\.5; resume"
    with pytest.raises(UserError, match=message):
        folder.check(changed, resume=True, overwrite=False)


def test_what_changes_no_result_may_change_at_a_resume(folder: OutputFolder) -> None:
    training = {
        "trackers": ["tensorboard"],
        "checkpoint_every": 5,
        "keep_checkpoints": 9,
        "early_stopping": 3,
        "micro_batch_size": 4,
    }
    changed = recipe(training=training, hub={"repo_id": "a/b"}, output="elsewhere")
    folder.check(changed, resume=True, overwrite=False)


def test_an_old_run_is_cleared_away_only_if_asked(folder: OutputFolder) -> None:
    folder.begin(recipe(seed=1), overwrite=False)
    assert (folder.path / "log.jsonl").exists()
    folder.begin(recipe(seed=2), overwrite=True)
    assert [path.name for path in folder.path.iterdir()] == ["recipe.yaml"]
    assert Recipe.from_yaml(folder.path / "recipe.yaml").seed == 2


def test_a_finished_run_has_model_pictures_and_scores(folder: OutputFolder, best: Path) -> None:
    assert folder.finished() is None
    finish(folder, best)
    names = {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*")}
    assert {name for name in names if not name.startswith("checkpoints")} == {
        "config.json",
        "log.jsonl",
        "metrics.json",
        "model.safetensors",
        "plots",
        "plots/draws.png",
        "plots/losses.png",
        "plots/metrics.png",
        "recipe.yaml",
    }
    assert (folder.path / "plots" / "losses.png").read_bytes().startswith(PNG)
    run = folder.finished()
    assert run is not None
    assert run.path == folder.path
    assert run.metrics == {"test": {"t": {"accuracy": 0.5}, "mean": 0.5}}
    assert json.loads((folder.path / "metrics.json").read_text()) == run.metrics


@pytest.mark.parametrize("log", ["not a log\n", None])
def test_a_broken_log_costs_the_pictures_and_not_the_model(
    folder: OutputFolder, best: Path, log: str | None
) -> None:
    (folder.path / "log.jsonl").unlink()
    if log is not None:
        (folder.path / "log.jsonl").write_text(log)
    finish(folder, best)
    assert folder.finished() is not None
    assert (folder.path / "model.safetensors").read_text() == "model.safetensors"
    assert not any((folder.path / "plots").iterdir())


def test_a_run_behind_a_link_is_replaced_where_it_is(
    folder: OutputFolder, best: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (folder.path / "linked").symlink_to(tmp_path / "elsewhere")
    link = tmp_path / "newest"
    link.symlink_to(folder.path)
    again = OutputFolder(link)
    again.check(recipe(), resume=False, overwrite=True)
    again.begin(recipe(), overwrite=True)
    assert link.is_symlink()
    assert [path.name for path in folder.path.iterdir()] == ["recipe.yaml"]
    assert (tmp_path / "elsewhere" / "kept").exists()
