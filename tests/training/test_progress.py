import re
import subprocess
import sys
from fractions import Fraction
from io import StringIO
from time import perf_counter

import pytest
from rich.console import Console

from mtl_nlp.training.pace import Pace
from mtl_nlp.training.progress import LineDisplay, TrainingProgress

PRIMARY = {"sentiment": "accuracy", "ner": "f1"}
ROWS = {"sst2": 22, "wnut17": 10}


def plain(width: int = 100) -> tuple[Console, StringIO]:
    file = StringIO()
    return Console(file=file, width=width, force_terminal=False), file


def terminal(width: int = 100) -> tuple[Console, StringIO]:
    file = StringIO()
    console = Console(
        file=file, width=width, height=30, force_terminal=True, _environ={"TERM": "xterm"}
    )
    return console, file


def train(progress: TrainingProgress, steps: int = 40, done: int = 0) -> None:
    progress.start(
        steps,
        done,
        {"sst2": 22 * steps, "wnut17": 10 * steps},
        sizes={"sst2": 440, "wnut17": 32},
        done_rows={"sst2": 22 * done},
    )
    for _ in range(done, steps):
        progress.step({"sentiment": 0.5, "ner": 0.25}, tokens=800, rows=ROWS)


def evaluate(progress: TrainingProgress, step: int, score: float, best_step: int) -> None:
    scores = {"sentiment": {"accuracy": score, "mcc": 0.1}, "ner": {"f1": 0.4}}
    progress.evaluation(step, scores, PRIMARY, (score + 0.4) / 2, step == best_step, best_step)


def test_without_a_terminal_there_are_plain_lines_at_every_tenth() -> None:
    console, file = plain()
    with TrainingProgress(console) as progress:
        train(progress)
    first, *lines = file.getvalue().splitlines()
    assert first == (
        "training 40 steps; rows planned: sst2 880 (68.8%, 2.0 passes), wnut17 400 (31.2%, 12.5"
        " passes)"
    )
    steps = [
        re.match(r"step (\d+)/40 \((\d+)%\)  loss sentiment 0\.500, ner 0\.250", line)
        for line in lines
    ]
    assert [int(match[1]) for match in steps if match] == [1, *range(4, 41, 4)]
    assert len(lines) == 11
    assert lines[-1].endswith(
        "rows sst2 880/880 (68.8%, planned 68.8%, 2.0 passes), wnut17 400/400 (31.2%, planned"
        " 31.2%, 12.5 passes)"
    )
    assert re.search(r" [\d,]+ tokens/s  \d+:\d\d left$", lines[3])
    assert file.getvalue().isprintable() is False  # line ends
    assert "".join(file.getvalue().split("\n")).isprintable()


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_a_short_run_shows_every_step(steps: int) -> None:
    console, file = plain()
    with TrainingProgress(console) as progress:
        train(progress, steps)
    assert file.getvalue().count("\nstep ") == steps


def test_a_slow_run_shows_a_line_every_half_minute() -> None:
    console, file = plain()
    display = LineDisplay(console)
    pace = Pace(total=1000, done=0, planned={}, sizes={}, rows={}, began=0.0)
    for step in range(1, 91):
        pace.advance({"a": 1.0}, 100, {}, now=float(step))
        display.show(pace, now=float(step))
    assert re.findall(r"step (\d+)/", file.getvalue()) == ["1", "31", "61"]
    assert "100 tokens/s" in file.getvalue()
    assert "16:09 left" in file.getvalue().splitlines()[1]


def test_after_a_resume_it_goes_on_where_it_was() -> None:
    console, file = plain()
    with TrainingProgress(console) as progress:
        train(progress, done=20)
    assert "training 40 steps from step 20 on; " in file.getvalue()
    assert "step 21/40 (52%)" in file.getvalue()
    assert file.getvalue().endswith(
        "rows sst2 880/880 (81.5%, planned 68.8%, 2.0 passes), wnut17 200/400 (18.5%, planned"
        " 31.2%, 6.2 passes)\n"
    )


def test_shares_that_follow_the_scores_are_told_and_planned_with() -> None:
    console, file = plain()
    with TrainingProgress(console) as progress:
        progress.start(4, 0, {"a": 20, "b": 20}, sizes={"a": 20, "b": 20})
        progress.replan({"a": 10, "b": 30}, {"a": Fraction(1, 10), "b": Fraction(9, 10)}, 1)
        for _ in range(4):
            progress.step({}, 1, {"a": 3, "b": 7})
        progress.replan({"a": 10, "b": 30}, {"a": Fraction(1, 2), "b": Fraction(1, 2)}, 4)
    told = file.getvalue()
    assert told.count("shares of the draws from step") == 1
    assert "shares of the draws from step 2 on: a 10.0%, b 90.0%\n" in told
    assert "a 12/10 (30.0%, planned 25.0%, 0.6 passes)" in told


def test_an_evaluation_is_compared_with_those_before() -> None:
    console, file = plain()
    with TrainingProgress(console) as progress:
        progress.start(
            400, 100, ROWS, sizes=ROWS, earlier=[(100, {"sentiment": {"accuracy": 0.7}})]
        )
        evaluate(progress, 200, 0.8, best_step=200)
        evaluate(progress, 300, 0.75, best_step=200)
    first, second = file.getvalue().split("evaluation at step ")[1:]
    assert first.startswith("200 of 400   ★ best so far")
    assert second.startswith("300 of 400   best so far: step 200")
    assert re.search(r"sentiment +accuracy +0\.8000 +0\.7000  \(step 100\) +★", first)
    assert re.search(r"ner +f1 +0\.4000 +★", first)
    assert re.search(r"sentiment +accuracy +0\.7500 +0\.8000  \(step 200\) *\n", second)
    assert re.search(r"mean +0\.5750", second)


@pytest.mark.parametrize(
    ("size", "often"),
    [
        (320, "about every 32 steps"),
        (12, "about every step"),
        (3, "several times a step"),
    ],
)
def test_a_dataset_that_starts_again_is_told_once_with_how_often(size: int, often: str) -> None:
    console, file = plain()
    with TrainingProgress(console) as progress:
        progress.start(40, 0, {"a": 400, "b": 4}, sizes={"a": size, "b": 4})
        for step in range(40):
            progress.step({}, 1, {"a": 10})
            if step >= 30:
                progress.restart("a", step + 2)
    told = [line for line in file.getvalue().splitlines() if line.startswith("dataset")]
    assert told == [
        f"dataset 'a' starts again, reshuffled: pass 32 at step 31; it will do so {often}, and its"
        " passes are counted beside its rows"
    ]


def test_messages_are_shown_as_they_are_on_one_line() -> None:
    console, file = plain(width=20)
    message = "wnut17 starts again [bold]pass 2[/bold] :star: at /a/very/long/path/to/somewhere"
    with TrainingProgress(console) as progress:
        progress.say(message)
    assert file.getvalue() == message + "\n"


def test_on_a_terminal_a_bar_is_drawn_and_the_cursor_given_back_even_after_an_error() -> None:
    console, file = terminal()

    def train_until_stopped() -> None:
        with TrainingProgress(console) as progress:
            train(progress)
            progress.say("wrote step-000040")
            evaluate(progress, 40, 0.8, best_step=40)
            raise KeyboardInterrupt("stop")

    with pytest.raises(KeyboardInterrupt, match="stop"):
        train_until_stopped()
    shown = file.getvalue()
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
    assert shown.index("\x1b[?25l") < shown.index("\x1b[?25h")
    frame = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).rsplit("step 40/40", 1)[1]
    assert "100%" in frame
    assert "sentiment 0.500   ner 0.250" in frame
    assert "sst2 880/880 (68.8%, planned 68.8%, 2.0 passes)" in frame
    assert "wnut17 400/400 (31.2%, planned 31.2%, 12.5 passes)" in frame


def test_many_losses_flow_over_lines_and_never_past_the_edge() -> None:
    console, file = terminal(width=60)
    tasks = {f"task_number_{number}": 0.5 for number in range(12)}
    with TrainingProgress(console) as progress:
        progress.start(1, 0, {}, sizes={})
        progress.step(tasks, 100, {})
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    frame = shown.rsplit("step 1/1", 1)[1]
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 60
    assert re.findall(r"task_number_(\d+) 0\.500", frame) == [str(n) for n in range(12)]


def test_a_quiet_console_shows_nothing() -> None:
    file = StringIO()
    with TrainingProgress(Console(file=file, quiet=True, force_terminal=True)) as progress:
        train(progress)
        evaluate(progress, 40, 0.8, best_step=40)
        progress.say("done")
    assert file.getvalue() == ""


@pytest.mark.parametrize("make", [plain, terminal])
def test_a_step_costs_next_to_nothing_and_frames_are_few(make: type) -> None:
    console, file = make()
    losses = {f"task_{number}": 0.5 for number in range(12)}
    with TrainingProgress(console) as progress:
        progress.start(10**9, 0, {"sst2": 10**9}, sizes={"sst2": 10**6})
        began = perf_counter()
        for _ in range(5000):
            progress.step(losses, 800, {"sst2": 32})
        seconds = perf_counter() - began
    assert seconds / 5000 < 2e-4
    assert file.getvalue().count("tokens/s") <= 2 + 4 * seconds


def test_stderr_is_where_it_goes_and_a_pipe_gets_no_control_characters() -> None:
    code = (
        "from mtl_nlp.training.progress import TrainingProgress\n"
        "with TrainingProgress() as progress:\n"
        "    progress.start(2, 0, {'a': 2}, sizes={'a': 2})\n"
        "    for _ in range(2): progress.step({'t': 0.5}, 3, {'a': 1})\n"
        "    progress.evaluation(2, {'t': {'f1': 1.0}}, {'t': 'f1'}, 1.0, True, 2)\n"
    )
    environment = {"FORCE_COLOR": "1", "TERM": "xterm", "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=environment
    )
    assert ran.stdout == b""
    assert b"step 2/2 (100%)" in ran.stderr
    assert b"* best so far" in ran.stderr
    assert all(byte >= 32 or byte == 10 for byte in ran.stderr)
