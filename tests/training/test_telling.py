"""What a person sees of it is in test_progress, what the log holds in test_log and test_loop."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from rich.console import Console

from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.training.judging import Judgement
from mtl_nlp.training.progress import TrainingProgress
from mtl_nlp.training.selection import Selection
from mtl_nlp.training.telling import Telling
from tests.runs import log_of


class Tracker(GeneralTracker):
    name, requires_logging_directory, tracker = "list", False, None

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[dict[str, Any], int | None]] = []

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.logged.append((values, step))


SHARES = {"chat": {"planned": 1.0, "drawn": 1.0}}
FOUND = Judgement({"ner": {"f1": 0.25, "recall": 0.5}, "mean": 0.25}, {"ner": "f1"}, 0.25)


def record(step: int) -> dict[str, Any]:
    losses = {"ner": 2.0}
    return {"step": step, "loss": 1.0, "losses": losses, "grad_norm": 0.5} | {
        "learning_rate": 0.1,
        "rows": {"chat": 3},
        "tokens": 12,
    }


def plan(step: int) -> StepPlan:
    return StepPlan(step - 1, {"chat": np.arange(3)}, {"chat": 1} if step == 2 else {})


def telling(folder: Path, tracker: Tracker, *, tracked: bool) -> tuple[Telling, io.StringIO]:
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("test")
    shown = io.StringIO()
    progress = TrainingProgress(Console(file=shown, width=120))
    return Telling(folder, progress, accelerator, tracked=tracked), shown


def train(tells: Telling, first: int, last: int) -> None:
    with tells.after(first - 1):
        tells.start(last, first - 1, {"chat": 9}, sizes={"chat": 3}, rows={"chat": 3 * (first - 1)})
        for step in range(first, last + 1):
            tells.step(plan(step), record(step))
        tells.evaluation(last, FOUND, Selection(0.25, last), SHARES)


@pytest.mark.parametrize("tracked", [True, False])
def test_log_trackers_and_progress_are_told_the_same(tmp_path: Path, tracked: bool) -> None:
    tracker = Tracker()
    tells, shown = telling(tmp_path, tracker, tracked=tracked)
    train(tells, 1, 2)
    evaluation = {"step": 2, "evaluation": {"validation": FOUND.scores}, "shares": SHARES}
    assert log_of(tmp_path) == [record(1), record(2), evaluation]
    values = {"loss": 1.0, "loss/ner": 2.0, "grad_norm": 0.5, "learning_rate": 0.1}
    scores = {"ner/f1": 0.25, "mean": 0.25}
    assert tracker.logged == ([(values, 1), (values, 2), (scores, 2)] if tracked else [])
    assert "dataset 'chat' starts again, reshuffled: pass 2 at step 2" in shown.getvalue()
    assert "evaluation at step 2 of 2   ★ best so far" in shown.getvalue()


def test_what_was_told_after_the_step_gone_on_from_is_dropped(tmp_path: Path) -> None:
    train(telling(tmp_path, Tracker(), tracked=False)[0], 1, 3)
    tells, shown = telling(tmp_path, Tracker(), tracked=False)
    train(tells, 2, 3)
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2, 3, 3]
    assert "training 3 steps from step 1 on" in shown.getvalue()
