import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from mtl_nlp.errors import UserError
from mtl_nlp.recipe import Recipe
from mtl_nlp.training.folder import OutputFolder
from mtl_nlp.training.log import RunLog

PNG = b"\x89PNG"
REGULARIZATION = {"method": "r_drop"}


def recipe(**changes: Any) -> Recipe:
    content = {
        "encoder": "org/encoder",
        "datasets": {"d": {"path": "org/d", "text": "text"}},
        "tasks": {"t": {"type": "text_classification", "dataset": "d", "label": "label"}},
        "training": {"regularization": REGULARIZATION},
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


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_whose_run_was_killed_before_it_had_a_recipe_is_empty(
    tmp_path: Path, resume: bool
) -> None:
    (tmp_path / ".recipe.yaml.123.part").write_text("encoder: org/enc")
    begun = OutputFolder(tmp_path)
    begun.check(recipe(), resume=resume, overwrite=False)
    begun.begin(recipe(), overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


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
    training = {"learning_rate": 0.5, "keep_checkpoints": 9, "regularization": REGULARIZATION}
    other = recipe(seed=14, training=training)
    message = r"not the one of .*: seed: 13 -> 14; training\.learning_rate: 0\.0001 -> 0\.5; resume"
    with pytest.raises(UserError, match=message):
        folder.check(other, resume=True, overwrite=False)


CHANGES: dict[str, tuple[Any, bool]] = {
    "encoder": ("org/other", False),
    "warm_start.model": ("org/first", False),
    "warm_start.heads": (True, False),
    "max_length": (64, False),
    "long_text": ("windows", False),
    "stride": (16, False),
    "dropout": (0.2, False),
    "seed": (14, False),
    "output": ("elsewhere", True),
    "datasets.d.path": ("org/e", False),
    "datasets.d.name": ("small", False),
    "datasets.d.revision": ("main", False),
    "datasets.d.data_files": ({"train": ["a.txt"]}, False),
    "datasets.d.text": ("sentence", False),
    "datasets.d.text_pair": ("other", False),
    "datasets.d.choices": ("answers", False),
    "datasets.d.tokens": ("words", False),
    "datasets.d.join": ("", False),
    "datasets.d.splits": ({"validation": 0.2}, False),
    "datasets.d.max_rows": ({"train": 9}, False),
    "datasets.d.streaming": (True, False),
    "tasks.t.type": ("regression", False),
    "tasks.t.dataset": (["d"], False),
    "tasks.t.weight": (0.5, False),
    "tasks.t.map": ({"a": "b"}, False),
    "tasks.t.labels": (["a", "b"], False),
    "tasks.t.metrics": (["org/metric"], True),
    "tasks.t.sharing": ("words", False),
    "tasks.t.label": ("mood", False),
    "tasks.t.after": ("u", False),
    "sharing.method": ("lora", False),
    "sharing.rank": (4, False),
    "sharing.alpha": (2.0, False),
    "sharing.dropout": (0.1, False),
    "sharing.targets": ("all-linear", False),
    "sharing.per_task": (True, False),
    "sharing.layer_norms": (True, False),
    "sharing.save": ("trained", False),
    "sampling.strategy": ("round_robin", False),
    "sampling.mix": ("step", False),
    "sampling.weights": ({"d": 2.0}, False),
    "sampling.temperature": (2.0, False),
    "sampling.cap": (9, False),
    "sampling.main": ("d", False),
    "sampling.ratio": (2.0, False),
    "sampling.targets": ({"t": 0.5}, False),
    "balancing.method": ("uw", False),
    "balancing.options": ({"mu": 0.5}, False),
    "training.epochs": (4, False),
    "training.max_steps": (9, False),
    "training.batch_size": (16, False),
    "training.micro_batch_size": (4, True),
    "training.micro_batch_tokens": (4096, True),
    "training.gradient_checkpointing": (True, True),
    "training.learning_rate": (0.5, False),
    "training.learning_rates": ({"heads": 0.5}, False),
    "training.layer_decay": (0.9, False),
    "training.frozen": (["encoder"], False),
    "training.unfreeze": ("epoch", False),
    "training.ema": (0.9, False),
    "training.schedule": ("constant", False),
    "training.warmup": (0.0, False),
    "training.weight_decay": (0.0, False),
    "training.regularization.method": ("smart", False),
    "training.regularization.weight": (2.0, False),
    "training.regularization.norm": ("l2", False),
    "training.regularization.radius": (0.5, False),
    "training.regularization.step_size": (0.5, False),
    "training.regularization.noise": (0.5, False),
    "training.max_grad_norm": (5.0, False),
    "training.precision": ("bf16", False),
    "training.checkpoint_every": (5, True),
    "training.keep_checkpoints": (9, True),
    "training.early_stopping": (3, True),
    "training.max_skipped": (0, True),
    "training.trackers": (["tensorboard"], True),
    "evaluation.every": (7, True),
    "evaluation.select": ("worst", False),
    "hub.repo_id": ("a/b", True),
    "hub.private": (False, True),
    "hub.push": ("never", True),
}
"""A change of each key, and whether a run may be resumed under it."""


def changed(key: str, value: Any) -> Recipe:
    """A recipe with one key changed, whatever the others then lack."""

    def put(spec: Any, parts: list[str]) -> Any:
        if not parts:
            return value
        first, *rest = parts
        if isinstance(spec, dict):
            return {**spec, first: put(spec[first], rest)}
        return spec.model_copy(update={first: put(getattr(spec, first, None), rest)})

    return put(recipe(), key.split("."))


def keys(spec: type[BaseModel], place: str = "") -> Iterator[str]:
    """The dotted paths of all keys of a recipe."""
    for name, field in spec.model_fields.items():
        inner = next(
            (one for one in (field.annotation, *get_args(field.annotation)) if is_spec(one)), None
        )
        entry = {"datasets": ".d", "tasks": ".t"}.get(name, "")
        yield from keys(inner, f"{place}{name}{entry}.") if inner else [place + name]


def is_spec(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, BaseModel)


def test_it_is_decided_for_every_key_whether_it_may_change_at_a_resume() -> None:
    own = {"tasks.t.label", "tasks.t.after"}  # of task types
    assert set(CHANGES) - own == set(keys(Recipe))


@pytest.mark.parametrize("key", CHANGES)
def test_only_what_leaves_the_rest_its_meaning_may_change_at_a_resume(
    folder: OutputFolder, key: str
) -> None:
    value, allowed = CHANGES[key]
    if allowed:
        changes = folder.check(changed(key, value), resume=True, overwrite=False)
        assert any(line.startswith(f"{key}: ") for line in changes)
    else:
        with pytest.raises(UserError, match=rf"not the one of .*{key}\b.*; resume with the same"):
            folder.check(changed(key, value), resume=True, overwrite=False)


def test_a_folder_that_another_machine_does_not_see_is_refused(
    folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtl_nlp.training.folder._SEEN_WITHIN", 0.0)
    folder.check_seen()
    elsewhere = OutputFolder(folder.path.parent / "two")
    with pytest.raises(UserError, match=r"output: the main process writes .*two, which .* share"):
        elsewhere.check_seen()


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


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    begun = OutputFolder(tmp_path / "taken" / "run")
    with pytest.raises(UserError, match=r"^output: .*run cannot be written to: .*; name another$"):
        begun.begin(recipe(), overwrite=False)
