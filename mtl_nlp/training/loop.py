"""The training loop on Accelerate: whole steps, evaluations, checkpoints, and how it stops."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from mtl_nlp.data.collator import Collator
from mtl_nlp.data.mixture import WINDOW_STEPS, Mixture
from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.data.streamed_split import buffers_of
from mtl_nlp.heads.stock import lay_anew
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.model.recomputing import recompute
from mtl_nlp.recipe import Recipe
from mtl_nlp.training.agreement import Agreed, agree
from mtl_nlp.training.checkpoints import Checkpoint
from mtl_nlp.training.cutting import Cutting, forward_cost
from mtl_nlp.training.draws import lags_behind, told_shares
from mtl_nlp.training.folder import CHECKPOINTS
from mtl_nlp.training.interruption import Interruption, Stopped
from mtl_nlp.training.judging import Judgement, judge
from mtl_nlp.training.keeping import Keeping
from mtl_nlp.training.learning import Learning
from mtl_nlp.training.progress import TrainingProgress
from mtl_nlp.training.selection import Selection
from mtl_nlp.training.sharding import is_sharded
from mtl_nlp.training.skipping import NONE_SKIPPED, NotFiniteError, skip
from mtl_nlp.training.state import TrainingState, load_state
from mtl_nlp.training.step import StepDone
from mtl_nlp.training.telling import Telling
from mtl_nlp.training.training_data import TrainingData
from mtl_nlp.training.trial import largest_piece, try_piece
from mtl_nlp.vocabulary import Vocabulary


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
        self.recipe, self.spec, self.data = recipe, recipe.training, data
        self.model, self.predictor, self.accelerator = model, predictor, accelerator
        self.steps = self.spec.steps(sum(data.sizes.values()))
        lay_anew(model)  # so that a resumed training computes the same last bits
        packed = model.skip_padding()
        if self.spec.gradient_checkpointing:
            recompute(model.encoder)
        collator = Collator(model.tasks, int(tokenizer.pad_token_id), Vocabulary(tokenizer))
        self.cutting = Cutting(
            recipe,
            data,
            collator,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            forward_cost=forward_cost(accelerator.device, packed=packed),
            copies=model.copies,
        )
        self.learning = Learning(recipe, model, data, steps=self.steps, accelerator=accelerator)
        self.telling = Telling(folder, progress, accelerator, tracked=bool(self.spec.trackers))
        self.keeping = Keeping(
            folder / CHECKPOINTS,
            keep=self.spec.keep_checkpoints,
            model=model,
            tokenizer=tokenizer,
            learning=self.learning,
            accelerator=accelerator,
            say=progress.say,
            published=published,
        )
        self._stand(load_state(resume.path) if resume else None)
        if resume:
            self.learning.load(resume.path)
        every = recipe.evaluation.every
        self.evaluate_every = self.mixture.steps_per_pass if every == "epoch" else int(every)

    def run(self) -> Selection:
        """Train to the end, or to an early stop; the best checkpoint is kept.

        Raises:
            Stopped: If a signal came; a checkpoint was written.
            UserError: If too many steps in a row had to be skipped.
        """
        with self.telling.after(self.done), Interruption() as interruption:
            self._announce()
            on_cpu = self.accelerator.device.type == "cpu"  # refuses no memory, but slows or kills
            if not on_cpu and not is_sharded(self.accelerator):
                self.try_largest_piece()
            while self.done < self.steps and not self._exhausted():
                began = time.monotonic()
                plan = self.mixture.plan(self.done)
                batches = self.cutting.batches(plan)
                agreed = self._agree(batches, interruption)
                self._step(plan, batches, agreed, began)
                self._end_of_step()
            self._agree([], interruption)
        return self.selection

    def try_largest_piece(self) -> None:
        """Run forward and backward of the largest piece of the next pass; nothing changes.

        Raises:
            UserError: If memory runs out, with what to lower.
        """
        streamed = bool(buffers_of(self.data.train))  # of which no more than a window is read ahead
        most = min(self.mixture.steps_per_pass, WINDOW_STEPS if streamed else self.steps)
        ahead = range(self.done, min(self.done + most, self.steps))
        plans, data = map(self.mixture.plan, ahead), self.data
        piece = largest_piece(plans, self.cutting.pieces, data.lengths, self.cutting.encoder_rows)
        batch = self.cutting.batch(piece, self.done) if piece else None
        optimizer = self.learning.optimizer.optimizer
        try_piece(self.model, batch, optimizer, self.accelerator, self.recipe)

    def best_checkpoint(self) -> Path:
        """The folder of the model that evaluated best.

        Raises:
            UserError: If the disk took no checkpoint of an evaluated model.
        """
        return self.keeping.best(self.selection.step)

    def standing(self) -> TrainingState:
        """Where the training stands now."""
        mixture, rows = self.mixture.state(self.done), dict(self.rows)
        known = self.data.fingerprints
        return TrainingState(self.done, mixture, self.selection, rows, self.skips, known)

    def _stand(self, state: TrainingState | None) -> None:
        """Take the place where a training stood, or the beginning.

        Raises:
            UserError: If it stood among other training rows.
        """
        if state:
            self.data.check_same(state.data)
        self.done = state.step if state else 0
        self.selection = state.selection if state else Selection()
        self.skips = state.skips if state else NONE_SKIPPED
        self.rows = dict(state.rows) if state else dict.fromkeys(self.data.train, 0)
        self.mixture = Mixture(
            self.data.lengths,
            batch_size=self.spec.batch_size,
            sampling=self.recipe.sampling,
            seed=self.recipe.seed,
            steps=self.steps,
            state=state.mixture if state else None,
            buffers=buffers_of(self.data.train),
        )

    def _announce(self) -> None:
        planned, sizes = self.mixture.planned_draws(self.steps), self.data.sizes
        self.telling.start(self.steps, self.done, planned, sizes=sizes, rows=self.rows)

    def _exhausted(self) -> bool:
        patience = self.spec.early_stopping
        return patience is not None and self.selection.since >= patience

    def _agree(self, batches: Sequence[Batch], interruption: Interruption) -> Agreed:
        """What all processes must know of a step.

        Raises:
            Stopped: If a signal came to any of them.
        """
        agreed = agree(self.model.tasks, batches, interruption.signum, self.accelerator)
        if agreed.signum:
            path = self.keeping.write(self.standing()) or "not written"
            raise Stopped(agreed.signum, f"stopped at step {self.done}; checkpoint {path}")
        return agreed

    def _step(self, plan: StepPlan, batches: Sequence[Batch], agreed: Agreed, began: float) -> None:
        """Take a step and tell of it, or skip it where it is not finite."""
        rate, skipped = self.learning.rate, {}
        try:
            step = self.learning.step(plan, batches, agreed.counts)
            self.skips = self.skips.ended()
        except NotFiniteError as error:
            step, skipped = StepDone(math.nan, error.losses, math.nan), {"skipped": error.tasks}
            most, newest, say = self.spec.max_skipped, self.keeping.newest(), self.telling.say
            self.skips = skip(self.skips, error.fault, plan.step + 1, most, newest, say)
        self.learning.schedule.step()
        self.done += 1
        for name, rows in plan.counts.items():
            self.rows[name] += rows
        record = {
            "step": self.done,
            "loss": step.loss,
            "losses": step.losses,
            "grad_norm": step.grad_norm,
            "learning_rate": rate,
            "rows": plan.counts,
            **skipped,
            "tokens": agreed.tokens,
            "seconds": time.monotonic() - began,
        }
        self.telling.step(plan, record)

    def _end_of_step(self) -> None:
        """Evaluate and write a checkpoint where they are due."""
        last = self.done == self.steps
        due = self.done % self.evaluate_every == 0 or last
        before = self.selection
        improved = self._evaluate() if due else False
        every = self.spec.checkpoint_every
        if improved or (due if every is None else self.done % every == 0):
            written = self.keeping.write(self.standing()) is not None
            if improved and not written:
                self.selection = before  # the best is one that there is

    def _evaluate(self) -> bool:
        """Judge the model; whether it is the best so far."""
        select = self.recipe.evaluation.select
        with self.learning.judged():
            found = judge(self.predictor, self.data, select, self.accelerator)
        self.selection = self.selection.after(found.selected, self.done)
        shares = told_shares(self.mixture, self.done, self.rows)
        self.telling.evaluation(self.done, found, self.selection, shares)
        self._follow(found)
        return self.selection.step == self.done

    def _follow(self, found: Judgement) -> None:
        """Let shares follow the scores of an evaluation, where the recipe has targets for them."""
        if targets := self.recipe.sampling.targets:
            reached = {name: float(found.tasks[name][found.primary[name]]) for name in targets}
            lags = lags_behind(targets, reached, self.data.datasets)
            first = self.mixture.learn(self.done, lags)
            planned = self.mixture.planned_draws(self.steps)
            self.telling.replan(planned, self.mixture.shares_at(first), first)
