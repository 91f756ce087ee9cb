"""A recipe becomes objects: check it, train it, evaluate a model on it."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from rich.console import Console

from mtl_nlp.data.binding import bind_tasks
from mtl_nlp.data.loading import load_splits
from mtl_nlp.errors import DataError, RecipeError
from mtl_nlp.inference.pipeline import pipeline
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.encoders import resolve_encoder
from mtl_nlp.model.limits import check_vocabulary
from mtl_nlp.model.loading import load_model
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.program import is_main_process, program, quiet_libraries
from mtl_nlp.recipe import Recipe, check_files
from mtl_nlp.tables import metrics_table
from mtl_nlp.tasks.own import own_types
from mtl_nlp.training.checkpoints import Checkpoint
from mtl_nlp.training.evaluation import (
    LabelledRows,
    evaluate_rows,
    labelled_rows,
    labelled_tasks,
)
from mtl_nlp.training.folder import CHECKPOINTS, OutputFolder, Run
from mtl_nlp.training.further_metrics import FurtherMetrics, load_further_metrics
from mtl_nlp.training.loop import TrainingLoop
from mtl_nlp.training.precision import choose_precision
from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.progress import TrainingProgress
from mtl_nlp.training.publication import UnpublishedError, checkpoint_publisher, publish_run
from mtl_nlp.training.resumption import newest_checkpoint
from mtl_nlp.training.selection import check_evaluated
from mtl_nlp.training.training_data import TrainingData
from mtl_nlp.training.tuning import set_tasks
from mtl_nlp.training.unknown_labels import unknown_labels


def check(recipe: Recipe) -> dict[str, Any]:
    """What training a recipe would do, and what is doubtful about its data.

    Returns:
        ``datasets``, ``tasks``, ``steps``, ``parameters`` and ``warnings``, as JSON values.

    Raises:
        UserError: If the recipe or the data is wrong.
    """
    _check_trackers(recipe.training.trackers)
    quiet_libraries()
    choose_precision(
        recipe.training.precision, torch.accelerator.current_accelerator() or torch.device("cpu")
    )
    further = load_further_metrics(recipe)
    prepared = prepare(recipe)
    labelled = labelled_tasks(prepared.labelled("validation"))
    check_evaluated(recipe.evaluation.select, labelled, prepared.tasks)
    parameters = _count_parameters(_model(prepared, None))
    report = prepared.examine().as_dict()
    for name, share in prepared.mixture().shares.items():
        report["datasets"][name]["share"] = float(share)
    return {
        "datasets": report["datasets"],
        "tasks": report["tasks"],
        "steps": prepared.steps,
        "parameters": parameters,
        "warnings": [*further.notes, *prepared.notes, *report["warnings"]],
    }


def train(recipe: Recipe, *, resume: bool = False, overwrite: bool = False) -> Run:
    """Train, evaluate, and leave a run folder that is a model folder.

    The metrics that the recipe names for a task are programs by their authors, and are executed.

    Args:
        recipe: What to do; ``recipe.output`` is the run folder.
        resume: Go on from the newest whole checkpoint of a run in that folder.
        overwrite: Replace a run in that folder.

    Raises:
        UserError: If the recipe or data is wrong, or the folder holds a run.
        UnpublishedError: If the run is finished and the Hub refuses it; it is in the error.
        Stopped: If a signal came; a checkpoint was written.
    """
    _check_trackers(recipe.training.trackers)
    quiet_libraries()
    recipe = recipe.resolved()
    folder = OutputFolder(Path(recipe.output))
    changes = folder.check(recipe, resume=resume, overwrite=overwrite)
    if resume and (finished := folder.finished()):
        if is_main_process():  # killed, or refused by the Hub, just before its end
            publish_run(finished, recipe, TrainingProgress().say, again=True)
        return finished
    accelerator = _accelerator(recipe)
    progress = TrainingProgress(None if accelerator.is_main_process else Console(quiet=True))
    with accelerator.main_process_first():
        further = load_further_metrics(recipe, progress.say)
        prepared = prepare(recipe)
    start = _newest_checkpoint(folder.path, accelerator, progress) if resume else None
    # All rows are read before training, so that a bad one is found now.
    judged = {split: prepared.labelled(split) for split in ("validation", "test")}
    labelled = labelled_tasks(judged["validation"])
    check_evaluated(recipe.evaluation.select, labelled, prepared.tasks)
    loop = _training_loop(
        prepared, judged["validation"], further, start, accelerator, folder.path, progress
    )
    # On every process: a mistake that the main one alone found would leave the others waiting.
    doubts = prepared.examine().warnings
    # Only now, with nothing left that a mistake could stop, is the folder touched.
    if accelerator.is_main_process:
        changed = [f"going on under a changed recipe: {'; '.join(changes)}"] if changes else []
        for note in (*changed, *further.notes, *prepared.notes, *doubts):
            progress.say(f"note: {note}")
        folder.begin(prepared.recipe, overwrite=overwrite)
    accelerator.wait_for_everyone()
    if recipe.training.trackers:
        accelerator.init_trackers("mtl_nlp")
    with progress:
        loop.run()
    run = Run(folder.path, _best_scores(loop, judged))
    accelerator.end_training()
    if accelerator.is_main_process:
        primary = {name: task.primary for name, task in prepared.tasks.items()}
        folder.finish(
            loop.best_checkpoint(),
            run.metrics,
            primary,
            loop.selection.step,
            loop.mixture.shares,
            loop.data.sizes,
        )
        publish_run(run, recipe, progress.say)
    return run


def evaluate(
    model: str | os.PathLike[str], recipe: Recipe, *, split: str = "test"
) -> dict[str, Any]:
    """The recipe's metrics of a saved model.

    Those that it names for a task are programs by their authors, and are executed; nothing in the
    model's folder or repository is.

    Args:
        model: Folder or Hub id.
        recipe: Its datasets and tasks; each task must be one of the model's, of the same type.
        split: ``train``, ``validation`` or ``test``.

    Returns:
        ``{split: {task: {metric: value}, "mean": value}}``.

    Raises:
        UserError: If model, recipe or data are wrong, or no dataset has the split.
    """
    quiet_libraries()
    check_files(recipe)
    wanted, bindings = bind_tasks(recipe)
    progress = TrainingProgress()
    further = load_further_metrics(recipe, progress.say)
    loaded = pipeline(model, task_types=own_types(wanted))
    predictor = loaded.predictor
    for name, task in wanted.items():
        own = predictor.model.tasks.get(name)
        if own is None or own.type != task.type:
            has = ", ".join(f"{n} ({t.type})" for n, t in predictor.model.tasks.items())
            raise RecipeError(f"tasks.{name}: the model has no {task.type} of that name, but {has}")
    rows = []
    for name, spec in recipe.datasets.items():
        splits = load_splits(name, spec, seed=recipe.seed, needs_train=False)
        if split in splits:
            own_bindings = [b for b in bindings if b.dataset == name]
            for binding in own_bindings:
                binding.check(split, splits[split])
            rows.append(
                labelled_rows(
                    splits[split],
                    place=f"dataset {name!r}, split {split}",
                    spec=spec,
                    encoder=replace(predictor.encoder, join=spec.join),
                    tasks=predictor.model.tasks,
                    bindings=own_bindings,
                )
            )
    if not rows:
        raise RecipeError(f"datasets: none of the recipe's datasets has the split {split!r}")
    if not labelled_tasks(rows):
        raise DataError(
            f"split {split}: no row of {split} has a label of {', '.join(wanted)}; name a split"
            " with labels, or check the tasks' columns"
        )
    for note in (*further.notes, *unknown_labels(predictor.model.tasks, rows)):
        progress.say(f"note: {note}")
    return {split: evaluate_rows(predictor, rows, further=further)}


def run_script(recipe: Recipe) -> Run:
    """Train a recipe that is written in Python, under the command line's ``key=value`` words.

    Also understands ``--resume``, ``--overwrite`` and ``--debug``; ends like the command line where
    something is wrong.
    """
    words = sys.argv[1:]
    flags = [word for word in words if word in ("--resume", "--overwrite", "--debug")]
    with program(debug="--debug" in flags):
        try:
            run = train(
                recipe.with_overrides([word for word in words if word not in flags]),
                resume="--resume" in flags,
                overwrite="--overwrite" in flags,
            )
        except UnpublishedError as error:
            Console().print(metrics_table(error.run.metrics))
            raise
    if is_main_process():
        Console().print(metrics_table(run.metrics))
    return run


def _count_parameters(model: MultiTaskModel) -> dict[str, Any]:
    """Parameters of encoder and heads, and of the decoder beside them where there is one."""
    encoder = {id(p) for p in model.encoder.parameters()}
    decoder = () if model.decoder is None else model.decoder.parameters()
    apart = [p.numel() for p in decoder if id(p) not in encoder]  # its embeddings are the encoder's
    return {
        "encoder": sum(p.numel() for p in model.encoder.parameters()),
        "heads": {
            name: sum(p.numel() for p in head.parameters()) for name, head in model.heads.items()
        },
        **({"decoder": sum(apart)} if apart else {}),
    }


def _accelerator(recipe: Recipe) -> Accelerator:
    cpu = not torch.accelerator.is_available()
    state = PartialState(cpu=cpu)
    AcceleratorState._reset_state()  # else the first training's precision binds all later ones
    return Accelerator(
        cpu=cpu,
        mixed_precision=choose_precision(recipe.training.precision, state.device),
        log_with=list(recipe.training.trackers) or None,
        project_dir=recipe.output,
        kwargs_handlers=[
            # A step need not use every head.
            DistributedDataParallelKwargs(find_unused_parameters=True)
        ],
    )


def _check_trackers(trackers: Sequence[str]) -> None:
    available = [str(tracker) for tracker in get_available_trackers()]
    for tracker in trackers:
        if tracker not in available:
            raise RecipeError(
                f"training.trackers: {tracker!r} is not installed or not one of Accelerate's;"
                f" installed are {', '.join(available) or 'none'}"
            )


def _newest_checkpoint(
    folder: Path, accelerator: Accelerator, progress: TrainingProgress
) -> Checkpoint | None:
    """What the main process finds."""
    found = None
    if accelerator.is_main_process:
        found = newest_checkpoint(folder / CHECKPOINTS, progress.say)
    checkpoint: Checkpoint | None = broadcast_object_list([found])[0]
    return checkpoint


def _model(prepared: Prepared, start: Checkpoint | None) -> MultiTaskModel:
    """The model that a training begins with; refused if it cannot read the rows."""
    recipe = prepared.recipe
    if start is not None:
        model = load_model(start.path, task_types=own_types(prepared.tasks))
        check_vocabulary(model.encoder, prepared.encoder.tokenizer)
        return model
    torch.manual_seed(recipe.seed)
    model = MultiTaskModel.from_encoder(
        resolve_encoder(recipe.encoder), {}, dropout=recipe.dropout, max_length=recipe.max_length
    )
    check_vocabulary(model.encoder, prepared.encoder.tokenizer)
    joins = [spec.join for spec in recipe.datasets.values() if spec.tokens is not None]
    model.config.join = joins[0] if joins else model.config.join
    model.config.long_text, model.config.stride = recipe.long_text, recipe.stride
    for task in prepared.tasks.values():
        model.set_head(task)
    return model


def _training_loop(
    prepared: Prepared,
    validation: Sequence[LabelledRows],
    further: FurtherMetrics,
    start: Checkpoint | None,
    accelerator: Accelerator,
    folder: Path,
    progress: TrainingProgress,
) -> TrainingLoop:
    recipe = prepared.recipe
    model = _model(prepared, start)
    return TrainingLoop(
        recipe,
        model,
        prepared.encoder.tokenizer,
        Predictor(
            model,
            prepared.encoder,
            recipe.training.micro_batch_size,
            recipe.training.micro_batch_tokens,
        ),
        TrainingData(prepared.train, prepared.datasets_of_tasks(), validation, further),
        accelerator=accelerator,
        folder=folder,
        progress=progress,
        resume=start,
        published=checkpoint_publisher(recipe, progress.say),
    )


def _best_scores(
    loop: TrainingLoop, judged: Mapping[str, Sequence[LabelledRows]]
) -> dict[str, dict[str, Any]]:
    """What the best model scores on each split that has labels."""
    best = load_model(loop.best_checkpoint(), task_types=own_types(loop.model.tasks))
    loop.model.load_state_dict(best.state_dict())
    set_tasks(loop.model, best.tasks)
    return {
        split: evaluate_rows(
            loop.predictor,
            rows,
            rank=loop.accelerator.process_index,
            world_size=loop.accelerator.num_processes,
            further=loop.data.further,
        )
        for split, rows in judged.items()
        if labelled_tasks(rows)
    }
