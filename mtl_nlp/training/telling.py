"""What a training tells: to its log, to trackers, and to whoever looks on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.hub.run_folder import LOG
from mtl_nlp.training.judging import Judgement
from mtl_nlp.training.log import RunLog, read_log
from mtl_nlp.training.progress import TrainingProgress
from mtl_nlp.training.selection import Selection


class Telling:
    """Tells log, trackers and progress of a training.

    Args:
        folder: The run folder, with the log; the main process writes it.
        progress: What a person sees.
        accelerator: Has the trackers.
        tracked: Whether there are any.
    """

    def __init__(
        self, folder: Path, progress: TrainingProgress, accelerator: Accelerator, *, tracked: bool
    ) -> None:
        self.path, self.progress = folder / LOG, progress
        self.accelerator, self.tracked = accelerator, tracked
        self._log: RunLog | None = None
        self._warned = False

    @contextmanager
    def after(self, step: int) -> Iterator[None]:
        """Tell within; what the log has of later steps is dropped."""
        if not self.accelerator.is_main_process:
            yield
            return
        with RunLog(self.path) as self._log:
            self._log.truncate_after(step)
            yield

    def start(
        self,
        steps: int,
        done: int,
        planned: Mapping[str, int],
        *,
        sizes: Mapping[str, int],
        rows: Mapping[str, int],
    ) -> None:
        """Tell that a training begins or goes on.

        Args:
            steps: Of the whole training.
            done: Of them, before.
            planned: Rows of each dataset that the whole training is to draw.
            sizes: Rows that each dataset holds.
            rows: Rows of each dataset drawn before.
        """
        records = read_log(self.path) if done else None
        earlier = [
            (r["step"], {t: s for t, s in r["evaluation"]["validation"].items() if t != "mean"})
            for r in (records.evaluations if records else ())
        ]
        self.progress.start(steps, done, planned, sizes=sizes, done_rows=rows, earlier=earlier)

    def step(self, plan: StepPlan, record: Mapping[str, Any]) -> None:
        """Tell of a step that was done.

        Args:
            plan: Of the step.
            record: Its line of the log.
        """
        self.progress.step(record["losses"], record["tokens"], plan.counts)
        for name, number in plan.restarts.items():
            self.progress.restart(name, number + 1)
        if self._log is not None and not self._log.write(record) and not self._warned:
            self._warned = True
            self.progress.say(f"warning: {LOG} cannot be written; its lines are kept for later")
        losses = {f"loss/{name}": loss for name, loss in record["losses"].items()}
        rest = {key: record[key] for key in ("loss", "grad_norm", "learning_rate")}
        self._track({**rest, **losses}, record["step"])

    def evaluation(
        self, step: int, found: Judgement, selection: Selection, shares: Mapping[str, Any]
    ) -> None:
        """Tell of an evaluation.

        Args:
            step: Optimizer steps that were done.
            found: What it found.
            selection: The best one so far, which may be this one.
            shares: Of each dataset in the draws so far, planned and drawn.
        """
        tasks, primary, best = found.tasks, found.primary, selection.step
        self.progress.evaluation(step, tasks, primary, found.mean, best == step, best)
        if self._log is not None:
            record = {"step": step, "evaluation": {"validation": found.scores}}
            self._log.write({**record, "shares": shares})
        values = {f"{name}/{primary[name]}": tasks[name][primary[name]] for name in tasks}
        self._track({**values, "mean": found.mean}, step)

    def replan(self, planned: Mapping[str, int], shares: Mapping[str, Fraction], step: int) -> None:
        """Tell of shares that follow the scores of an evaluation.

        Args:
            planned: Rows of each dataset that the whole training is now to draw.
            shares: Of each dataset, in the steps to come.
            step: The first of them, from 0.
        """
        self.progress.replan(planned, shares, step)

    def say(self, text: str) -> None:
        """Tell a person something else."""
        self.progress.say(text)

    def _track(self, values: Mapping[str, Any], step: int) -> None:
        if self.tracked:
            self.accelerator.log(dict(values), step=step)
