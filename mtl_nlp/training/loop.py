"""The training loop on Accelerate: whole steps, evaluations, checkpoints, and how it stops."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerBase

from mtl_nlp.data.collator import Collator
from mtl_nlp.data.micro_batches import micro_batches
from mtl_nlp.data.mixture import Mixture, StepPlan
from mtl_nlp.data.prepare import EncodedSplit
from mtl_nlp.errors import UserError
from mtl_nlp.heads.stock import lay_anew
from mtl_nlp.hub.run_folder import LOG
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks.masking import draw_key
from mtl_nlp.training.balancing import Balancing, build_balancing, check_not_sharded
from mtl_nlp.training.checkpoints import Checkpoint, checkpoints, rotate, write_checkpoint
from mtl_nlp.training.evaluation import LabelledRows, evaluate_rows
from mtl_nlp.training.folder import CHECKPOINTS
from mtl_nlp.training.further_metrics import NO_FURTHER_METRICS, FurtherMetrics
from mtl_nlp.training.interruption import Interruption, Stopped
from mtl_nlp.training.log import RunLog, read_log
from mtl_nlp.training.objective import Objective, count_items
from mtl_nlp.training.optimizer import build_optimizer, build_schedule
from mtl_nlp.training.progress import TrainingProgress
from mtl_nlp.training.selection import Selection, selection_score
from mtl_nlp.training.skipping import NONE_SKIPPED, NotFiniteError
from mtl_nlp.training.state import (
    TrainingState,
    load_balancing,
    load_optimizer,
    load_state,
    save_state,
)
from mtl_nlp.training.step import OptimizerStep, StepDone
from mtl_nlp.training.trial import Piece, largest_piece, try_piece
from mtl_nlp.training.tuning import tune_tasks
from mtl_nlp.vocabulary import Vocabulary

_FORWARD_COST = {"cpu": 48}
"""Tokens that are computed in the time of one more forward and backward of small pieces."""
_LAUNCHES = 4096
"""The same where kernels are launched on another device, which then waits for the host, and where
padding is not computed: a step is then cut only where its rows are too many."""

_NEVER = 10**12
"""The same where a step must not be cut."""


@dataclass(frozen=True)
class TrainingData:
    """What a training draws from and is judged by.

    Attributes:
        train: Encoded training rows, by dataset.
        datasets: The datasets of each task.
        validation: Labelled rows, one entry per dataset.
        further: Metrics that the recipe names beside the tasks' own.
    """

    train: Mapping[str, EncodedSplit]
    datasets: Mapping[str, Sequence[str]]
    validation: Sequence[LabelledRows]
    further: FurtherMetrics = NO_FURTHER_METRICS

    @property
    def lengths(self) -> dict[str, np.ndarray]:
        """Sub-words of each training row, by dataset."""
        return {name: split.lengths for name, split in self.train.items()}

    @cached_property
    def encoder_rows(self) -> dict[str, np.ndarray]:
        """Encoder rows of each training row, by dataset."""
        return {name: split.encoder_rows for name, split in self.train.items()}

    @cached_property
    def fingerprints(self) -> dict[str, int]:
        """A number for each dataset that changes with the number, order or lengths of its rows."""
        return {name: crc32(split.lengths.tobytes()) for name, split in self.train.items()}

    @property
    def sizes(self) -> dict[str, int]:
        """Training rows, by dataset."""
        return {name: len(split) for name, split in self.train.items()}


class TrainingLoop:
    """Trains a model as a recipe says, in a run folder, from the start or from a checkpoint.

    Args:
        recipe: What to do.
        model: With a head for every task.
        tokenizer: Saved beside the model.
        predictor: Of the same model, for evaluations.
        data: What is learned and judged by.
        accelerator: Devices, processes and precision.
        folder: The run folder.
        progress: What a person sees.
        resume: The checkpoint to go on from, which the model was loaded from.
        published: Called with a checkpoint's folder and step once it is whole.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: MultiTaskModel,
        tokenizer: PreTrainedTokenizerBase,
        predictor: Predictor,
        data: TrainingData,
        *,
        accelerator: Accelerator,
        folder: Path,
        progress: TrainingProgress,
        resume: Checkpoint | None = None,
        published: Callable[[Path, int], None] | None = None,
    ) -> None:
        self.spec, self.recipe = recipe.training, recipe
        self.model, self.tokenizer, self.predictor = model, tokenizer, predictor
        self.data, self.lengths = data, data.lengths
        self.accelerator, self.folder, self.progress = accelerator, folder, progress
        self.published, self.log_told = published, False
        self.rank, self.world_size = accelerator.process_index, accelerator.num_processes
        if self.spec.batch_size < self.world_size:
            raise UserError(
                f"training.batch_size: {self.spec.batch_size} rows cannot be shared among"
                f" {self.world_size} processes; use at least as many rows as processes"
            )
        self.steps = self.spec.steps(sum(data.sizes.values()))
        lay_anew(model)  # so that a resumed training computes the same last bits
        packed = model.skip_padding()
        self.forward_cost = (
            _LAUNCHES if packed else _FORWARD_COST.get(accelerator.device.type, _LAUNCHES)
        )
        if compared := [name for name, task in model.tasks.items() if task.whole_step]:
            self.forward_cost = _NEVER
            if self.world_size > 1:
                raise UserError(
                    f"task {compared[0]!r} compares all rows of a step, and {self.world_size}"
                    " processes would each see a part; train it with one process"
                )
        self.balancing = self._balancing()
        optimizer = build_optimizer(model, self.spec, self.balancing.parameters())
        self.schedule = build_schedule(optimizer, self.spec, self.steps)
        objective, self.optimizer = accelerator.prepare(Objective(model), optimizer)
        self.optimizer_step = OptimizerStep(
            model,
            objective,
            self.optimizer,
            accelerator,
            balancing=self.balancing,
            seed=recipe.seed,
            max_grad_norm=self.spec.max_grad_norm,
        )
        self.collator = Collator(model.tasks, int(tokenizer.pad_token_id), Vocabulary(tokenizer))
        state = load_state(resume.path) if resume else None
        if state and (changed := state.data and _changed(state.data, data.fingerprints)):
            raise UserError(
                f"--resume: the training rows of dataset {changed[0]!r} are not those that the"
                " checkpoint was trained on, in number, order or length; bring them back, or train"
                " anew with --overwrite"
            )
        if resume:
            load_optimizer(resume.path, optimizer, self.schedule, accelerator.scaler)
            self.balancing.load_state(load_balancing(resume.path))
        self.done = state.step if state else 0
        self.selection = state.selection if state else Selection()
        self.skips = state.skips if state else NONE_SKIPPED
        self.rows = dict(state.rows) if state else dict.fromkeys(data.train, 0)
        self.mixture = Mixture(
            self.lengths,
            batch_size=self.spec.batch_size,
            sampling=recipe.sampling,
            seed=recipe.seed,
            steps=self.steps,
            state=state.mixture if state else None,
        )
        every = recipe.evaluation.every
        self.evaluate_every = self.mixture.steps_per_pass if every == "epoch" else int(every)

    def run(self) -> Selection:
        """Train to the end, or to an early stop; the best checkpoint is kept.

        Raises:
            Stopped: If a signal came; a checkpoint was written.
            UserError: If too many steps in a row had to be skipped.
        """
        log = RunLog(self.folder / LOG) if self.accelerator.is_main_process else None
        with contextlib.ExitStack() as stack:
            if log is not None:
                stack.enter_context(log)
                log.truncate_after(self.done)
            interruption = stack.enter_context(Interruption())
            self._announce()
            if self.accelerator.device.type != "cpu":  # which refuses no memory, but slows or kills
                self.try_largest_piece()
            while self.done < self.steps and not self._exhausted():
                began = time.monotonic()
                plan = self.mixture.plan(self.done)
                batches = self._batches(plan)
                counts, tokens, signum = self._agree(batches, interruption.signum)
                self._stop_if(signum)
                record = self._step(plan, batches, counts)
                seconds = time.monotonic() - began
                self._tell(plan, {**record, "tokens": tokens, "seconds": seconds}, log)
                self._end_of_step(log)
            self._stop_if(self._agree([], interruption.signum)[2])
        return self.selection

    def best_checkpoint(self) -> Path:
        """The folder of the model that evaluated best.

        Raises:
            UserError: If the disk took no checkpoint of an evaluated model.
        """
        found = {c.step: c.path for c in checkpoints(self.folder / CHECKPOINTS)}
        if self.selection.step not in found:
            raise UserError(
                f"output: no evaluated model could be written to {self.folder / CHECKPOINTS}, so"
                " the run has none to keep; free space there, and train anew with --overwrite"
            )
        return found[self.selection.step]

    def _balancing(self) -> Balancing:
        check_not_sharded(self.recipe.balancing, self.accelerator.distributed_type)
        return build_balancing(
            self.recipe.balancing,
            self.model.tasks,
            self.data.datasets,
            steps_per_pass=math.ceil(sum(self.data.sizes.values()) / self.spec.batch_size),
            device=self.accelerator.device,
        )

    def _announce(self) -> None:
        planned = self.mixture.planned_draws(self.steps)
        records = read_log(self.folder / LOG) if self.done else None
        earlier = [
            (r["step"], {t: s for t, s in r["evaluation"]["validation"].items() if t != "mean"})
            for r in (records.evaluations if records else ())
        ]
        self.progress.start(
            self.steps,
            self.done,
            planned,
            sizes=self.data.sizes,
            done_rows=self.rows,
            earlier=earlier,
        )

    def _stop_if(self, signum: int) -> None:
        if signum:
            path = self._checkpoint()
            raise Stopped(
                signum, f"stopped at step {self.done}; checkpoint {path or 'not written'}"
            )

    def _exhausted(self) -> bool:
        patience = self.spec.early_stopping
        return patience is not None and self.selection.since >= patience

    def _batches(self, plan: StepPlan) -> list[Batch]:
        """This process's pieces of a step; each has at least one row."""
        return [self._batch(piece, plan.step) for piece in self._pieces(plan)]

    def _batch(self, piece: Piece, step: int) -> Batch:
        tables = [self.data.train[name].take(rows) for name, rows in piece.items()]
        return self.collator.batch(tables, draw_key(self.recipe.seed, step))

    def _pieces(self, plan: StepPlan) -> list[dict[str, np.ndarray]]:
        return micro_batches(
            plan,
            self.lengths,
            self.spec.micro_batch_size,
            forward_cost=self.forward_cost,
            most_tokens=self.spec.micro_batch_tokens,
            encoder_rows=self.data.encoder_rows,
            rank=self.rank,
            world_size=self.world_size,
        )

    def try_largest_piece(self) -> None:
        """Run forward and backward of the largest piece of the next pass; nothing changes.

        Raises:
            UserError: If memory runs out, with what to lower.
        """
        ahead = range(self.done, min(self.done + self.mixture.steps_per_pass, self.steps))
        plans = map(self.mixture.plan, ahead)
        piece = largest_piece(plans, self._pieces, self.lengths, self.data.encoder_rows)
        batch = self._batch(piece, self.done) if piece else None
        try_piece(self.model, batch, self.optimizer.optimizer, self.accelerator, self.recipe)

    def _agree(self, batches: Sequence[Batch], signum: int) -> tuple[dict[str, int], int, int]:
        """Labelled items, tokens and signal of the whole step over all processes."""
        counts = count_items(self.model.tasks, batches)
        tokens = sum(batch.num_tokens for batch in batches)
        if self.world_size == 1:
            return counts, tokens, signum
        mine = torch.tensor([*counts.values(), tokens], device=self.accelerator.device)
        total = self.accelerator.reduce(mine, "sum").tolist()
        signals = self.accelerator.gather(torch.tensor([signum], device=self.accelerator.device))
        return dict(zip(counts, total[:-1], strict=True)), total[-1], int(signals.max())

    def _step(
        self, plan: StepPlan, batches: Sequence[Batch], counts: Mapping[str, int]
    ) -> dict[str, Any]:
        """One optimizer step; its line of the log but for tokens and seconds."""
        rate = self.schedule.get_last_lr()[0]
        try:
            done = self.optimizer_step.take(plan, batches, counts)
            self.skips, skipped = self.skips.ended(), {}
        except NotFiniteError as error:
            done = StepDone(math.nan, error.losses, math.nan)
            skipped = {"skipped": error.tasks}
            self._skip(error.fault)
        self.schedule.step()
        return {
            "step": plan.step + 1,
            "loss": done.loss,
            "losses": done.losses,
            "grad_norm": done.grad_norm,
            "learning_rate": rate,
            "rows": plan.counts,
            **skipped,
        }

    def _skip(self, fault: str) -> None:
        """Count and tell a skipped step.

        Raises:
            UserError: If it is one too many in a row.
        """
        self.skips, most = self.skips.one_more(), self.spec.max_skipped
        if self.skips.in_a_row <= most:
            self.progress.say(
                f"warning: step {self.done + 1:,} is skipped: {fault} ({self.skips.in_a_row} in a"
                f" row of at most {most}, {self.skips.total} in all)"
            )
            return
        earlier = f", as in the {most} steps before it" if most else ""
        whole = checkpoints(self.folder / CHECKPOINTS)
        last = f"; the last good model is {whole[-1].path}" if whole else ""
        raise UserError(
            f"training: {fault} at step {self.done + 1}{earlier}; lower training.learning_rate or"
            f" use training.precision=fp32, and train anew with --overwrite{last}"
        )

    def _tell(self, plan: StepPlan, record: dict[str, Any], log: RunLog | None) -> None:
        self.done += 1
        for name, rows in plan.counts.items():
            self.rows[name] += rows
        self.progress.step(record["losses"], record["tokens"], plan.counts)
        for name, number in plan.restarts.items():
            self.progress.restart(name, number + 1)
        if log is not None and not log.write(record) and not self.log_told:
            self.log_told = True
            self.progress.say(f"warning: {LOG} cannot be written; its lines are kept for later")
        if self.spec.trackers:
            losses = {f"loss/{name}": loss for name, loss in record["losses"].items()}
            rest = {key: record[key] for key in ("loss", "grad_norm", "learning_rate")}
            self.accelerator.log({**rest, **losses}, step=self.done)

    def _end_of_step(self, log: RunLog | None) -> None:
        last = self.done == self.steps
        due = self.done % self.evaluate_every == 0 or last
        before = self.selection
        improved = self._evaluate(log) if due else False
        every = self.spec.checkpoint_every
        if improved or (due if every is None else self.done % every == 0):
            written = self._checkpoint() is not None
            if improved and not written:
                self.selection = before  # the best is one that there is

    def _evaluate(self, log: RunLog | None) -> bool:
        """Tune the tasks and score the model on validation; whether it is the best so far."""
        tune_tasks(self.predictor, self.data.validation)
        scores = evaluate_rows(
            self.predictor,
            self.data.validation,
            rank=self.rank,
            world_size=self.world_size,
            further=self.data.further,
        )
        scores = broadcast_object_list([scores])[0]
        primary = {name: self.model.tasks[name].primary for name in scores if name != "mean"}
        tasks = {name: scores[name] for name in primary}
        judged = {name: one for name, one in primary.items() if self.model.tasks[name].judged}
        score = selection_score(self.recipe.evaluation.select, tasks, judged)
        self.selection = self.selection.after(score, self.done)
        best = self.selection.step == self.done
        self.progress.evaluation(
            self.done, tasks, primary, scores["mean"], best, self.selection.step
        )
        if log is not None:
            log.write({"step": self.done, "evaluation": {"validation": scores}})
        if self.spec.trackers:
            values = {f"{name}/{primary[name]}": tasks[name][primary[name]] for name in tasks}
            self.accelerator.log({**values, "mean": scores["mean"]}, step=self.done)
        return best

    def _checkpoint(self) -> Path | None:
        """Write where the training stands; old checkpoints make room, the best one stays.

        Returns:
            Its folder; None if the disk would not take it, which is told.
        """
        folder = self.folder / CHECKPOINTS
        path, problem = folder / f"step-{self.done:06d}", None
        if self.accelerator.is_main_process:
            try:
                write_checkpoint(folder, self.done, self._fill)
            except OSError as error:
                problem = str(error)
            else:
                newest = checkpoints(folder)[-self.spec.keep_checkpoints :]
                best = {load_state(one.path).selection.step for one in newest}
                rotate(folder, self.spec.keep_checkpoints, best)
                if self.published is not None:
                    self.published(path, self.done)
        problem = broadcast_object_list([problem])[0]
        if problem is None:
            return path
        whole = checkpoints(folder)
        self.progress.say(
            f"warning: no checkpoint at step {self.done:,}: {problem}; the newest is"
            f" {whole[-1].path.name if whole else 'none'}, and the training goes on"
        )
        return None

    def _fill(self, folder: Path) -> None:
        try:
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(f"model.safetensors could not be written ({error})") from error
        state = TrainingState(
            self.done,
            self.mixture.state(self.done),
            self.selection,
            dict(self.rows),
            self.skips,
            self.data.fingerprints,
        )
        save_state(
            folder,
            state,
            self.optimizer.optimizer,
            self.schedule,
            self.accelerator.scaler,
            self.balancing.state(),
        )


def _changed(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """The keys whose values are no longer the same."""
    return [name for name, value in now.items() if before.get(name) != value]
