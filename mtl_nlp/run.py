"""A recipe becomes objects: check it, train it, evaluate a model on it."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from rich.console import Console

from mtl_nlp.data.bind_tasks import bind_tasks
from mtl_nlp.ending import ending_together
from mtl_nlp.errors import DataError
from mtl_nlp.inference.pipeline import pipeline
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.program import is_main_process, program, quiet_libraries
from mtl_nlp.recipe import Recipe, check_files
from mtl_nlp.tables import metrics_table
from mtl_nlp.tasks.own import own_types
from mtl_nlp.training.accelerator import build_accelerator, check_trackers
from mtl_nlp.training.beginning import begin_model, count_parameters
from mtl_nlp.training.checkpoints import Checkpoint
from mtl_nlp.training.draws import check_targets
from mtl_nlp.training.evaluation import LabelledRows, evaluate_rows, labelled_tasks
from mtl_nlp.training.folder import CHECKPOINTS, OutputFolder, Run
from mtl_nlp.training.further_metrics import FurtherMetrics, load_further_metrics
from mtl_nlp.training.judging import judge_best
from mtl_nlp.training.learning import settle
from mtl_nlp.training.loop import TrainingLoop
from mtl_nlp.training.precision import choose_precision
from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.progress import TrainingProgress
from mtl_nlp.training.publication import UnpublishedError, checkpoint_publisher, publish_run
from mtl_nlp.training.resumption import newest_checkpoint
from mtl_nlp.training.saved_model import check_served, split_rows
from mtl_nlp.training.selection import check_evaluated
from mtl_nlp.training.training_data import TrainingData
from mtl_nlp.training.unknown_labels import unknown_labels


def check(recipe: Recipe) -> dict[str, Any]:
    """What training a recipe would do, and what is doubtful about its data.

    Returns:
        ``datasets``, ``tasks``, ``steps``, ``parameters`` and ``warnings``, as JSON values.

    Raises:
        UserError: If the recipe or the data is wrong.
    """
    check_trackers(recipe.training.trackers)
    quiet_libraries()
    choose_precision(
        recipe.training.precision, torch.accelerator.current_accelerator() or torch.device("cpu")
    )
    further = load_further_metrics(recipe)
    prepared = prepare(recipe)
    labelled = labelled_tasks(prepared.labelled("validation"))
    check_evaluated(recipe.evaluation.select, labelled, prepared.tasks)
    check_targets(recipe.sampling.targets, labelled, prepared.tasks)
    notes: list[str] = []
    model, mixture = begin_model(prepared, say=notes), prepared.mixture()
    notes += settle(model, recipe, prepared.steps, mixture.steps_per_pass)
    parameters = count_parameters(model)
    report = prepared.examine().as_dict()
    for name, share in mixture.shares.items():
        report["datasets"][name]["share"] = float(share)
    return {
        "datasets": report["datasets"],
        "tasks": report["tasks"],
        "steps": prepared.steps,
        "parameters": parameters,
        "warnings": [*further.notes, *prepared.notes, *notes, *report["warnings"]],
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
        ElsewhereError: If another process of several failed.
    """
    check_trackers(recipe.training.trackers)
    quiet_libraries()
    recipe = recipe.resolved()
    folder = OutputFolder(Path(recipe.output))
    changes = folder.check(recipe, resume=resume, overwrite=overwrite)
    if resume and (finished := folder.finished()):
        if is_main_process():  # killed, or refused by the Hub, just before its end
            publish_run(finished, recipe, TrainingProgress().say, again=True)
        return finished
    accelerator = build_accelerator(recipe)
    with ending_together():
        return _train_together(
            recipe, folder, changes, accelerator, resume=resume, overwrite=overwrite
        )


def _train_together(
    recipe: Recipe,
    folder: OutputFolder,
    changes: Sequence[str],
    accelerator: Accelerator,
    *,
    resume: bool,
    overwrite: bool,
) -> Run:
    """The part of `train` that several processes go through together."""
    progress = TrainingProgress(None if accelerator.is_main_process else Console(quiet=True))
    with accelerator.main_process_first():
        further = load_further_metrics(recipe, progress.say)
        prepared = prepare(recipe)
    start = _newest_checkpoint(folder.path, accelerator, progress) if resume else None
    # All rows are read before training, so that a bad one is found now.
    judged = {split: prepared.labelled(split) for split in ("validation", "test")}
    notes: list[str] = []
    loop = _training_loop(
        prepared,
        judged["validation"],
        further,
        start,
        accelerator,
        folder.path,
        progress,
        say=notes,
    )
    notes += loop.learning.notes
    # On every process: a mistake that the main one alone found would leave the others waiting.
    doubts = prepared.examine().warnings
    # Only now, with nothing left that a mistake could stop, is the folder touched.
    if accelerator.is_main_process:
        changed = [f"going on under a changed recipe: {'; '.join(changes)}"] if changes else []
        for note in (*changed, *further.notes, *prepared.notes, *notes, *doubts):
            progress.say(f"note: {note}")
        folder.begin(prepared.recipe, overwrite=overwrite)
    accelerator.wait_for_everyone()
    folder.check_seen()
    return _train(loop, prepared, judged, folder, progress)


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
    predictor = pipeline(model, task_types=own_types(wanted)).predictor
    check_served(wanted, predictor.model.tasks)
    rows = split_rows(recipe, split, predictor, bindings)
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


def _train(
    loop: TrainingLoop,
    prepared: Prepared,
    judged: Mapping[str, Sequence[LabelledRows]],
    folder: OutputFolder,
    progress: TrainingProgress,
) -> Run:
    """Train, judge the best model, and leave the folder finished and published."""
    accelerator = loop.accelerator
    if prepared.recipe.training.trackers:
        accelerator.init_trackers("mtl_nlp")
    with progress:
        loop.run()
    best = loop.best_checkpoint()
    scores = judge_best(best, loop.predictor, judged, loop.data.further, accelerator)
    run = Run(folder.path, scores)
    accelerator.end_training()
    if accelerator.is_main_process:
        primary = {name: task.primary for name, task in prepared.tasks.items()}
        step, shares = loop.selection.step, loop.mixture.shares
        folder.finish(best, run.metrics, primary, step, shares, loop.data.sizes)
        publish_run(run, prepared.recipe, progress.say)
    return run


def _newest_checkpoint(
    folder: Path, accelerator: Accelerator, progress: TrainingProgress
) -> Checkpoint | None:
    """What the main process finds."""
    found = None
    if accelerator.is_main_process:
        found = newest_checkpoint(folder / CHECKPOINTS, progress.say)
    checkpoint: Checkpoint | None = broadcast_object_list([found])[0]
    return checkpoint


def _training_loop(
    prepared: Prepared,
    validation: Sequence[LabelledRows],
    further: FurtherMetrics,
    start: Checkpoint | None,
    accelerator: Accelerator,
    folder: Path,
    progress: TrainingProgress,
    *,
    say: list[str],
) -> TrainingLoop:
    """The loop of a recipe; refused where validation cannot select the best model."""
    recipe = prepared.recipe
    labelled = labelled_tasks(validation)
    check_evaluated(recipe.evaluation.select, labelled, prepared.tasks)
    check_targets(recipe.sampling.targets, labelled, prepared.tasks)
    model = begin_model(prepared, start, say=say)
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
