"""What a person sees of a training: a live bar on a terminal, plain lines in a log file."""

import sys
from collections.abc import Iterable, Mapping
from fractions import Fraction
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mtl_nlp.tables import Scores, evaluation_table
from mtl_nlp.training.pace import Pace

_SECONDS_PER_FRAME = 0.25
_SECONDS_PER_LINE = 30.0
_LINES = 10  # at least so many lines a run


class Display(Protocol):
    """How a pace is shown."""

    def show(self, pace: Pace, now: float) -> None:
        """Take notice of the pace; cheap, as it is called at every step."""

    def close(self) -> None:
        """Leave the console as it was."""


class BarDisplay:
    """A bar with losses and draws that stays at the foot of a terminal."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False)
        self._shown = float("-inf")

    def show(self, pace: Pace, now: float) -> None:
        """Draw a frame if the last is old enough, or the run is over."""
        if now - self._shown < _SECONDS_PER_FRAME and pace.done < pace.total:
            return
        self._shown = now
        if not self._live.is_started:
            self._live.start()
        self._live.update(_bar(pace, self._live.console.width), refresh=True)

    def close(self) -> None:
        """Leave the last frame where it is and give the cursor back."""
        self._live.stop()


class LineDisplay:
    """A line now and then, without control characters."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = float("-inf")
        self._next = 0.0  # steps

    def show(self, pace: Pace, now: float) -> None:
        """Print a line at every tenth of the run, or half a minute after the last one."""
        if pace.done < self._next and now - self._shown < _SECONDS_PER_LINE:
            return
        self._shown = now
        tenth = pace.total / _LINES
        self._next = min((pace.done // tenth + 1) * tenth if tenth else 1, pace.total)
        self._console.print(_line(pace), soft_wrap=True, highlight=False)

    def close(self) -> None:
        """Nothing is held."""


class TrainingProgress:
    """Shows a training on stderr: a context manager around it, told of every step.

    A live bar on a terminal, else lines at intervals. A step costs some ten microseconds, and
    a frame of the bar, drawn at most four times a second, a few milliseconds.

    Args:
        console: Where to show it; stderr if None. ``Console(quiet=True)`` shows nothing.
    """

    def __init__(self, console: Console | None = None) -> None:
        if console is None:
            console = Console(stderr=True, force_terminal=sys.stderr.isatty())
        self._console = console
        live = console.is_terminal and not console.is_dumb_terminal and not console.quiet
        self._display: Display = BarDisplay(console) if live else LineDisplay(console)
        self._pace = Pace(total=0, done=0, planned={}, sizes={}, rows={}, began=monotonic())
        self._evaluations: list[tuple[int, Scores]] = []
        self._restarted: set[str] = set()  # datasets whose starting again was told

    def start(
        self,
        total_steps: int,
        done_steps: int,
        planned: Mapping[str, int],
        *,
        sizes: Mapping[str, int],
        done_rows: Mapping[str, int] | None = None,
        earlier: Iterable[tuple[int, Scores]] = (),
    ) -> None:
        """Begin, or go on after a resume.

        Args:
            total_steps: Optimizer steps of the whole run.
            done_steps: How many of them were done before, 0 for a fresh run.
            planned: Rows of each dataset that the whole run is to draw.
            sizes: Rows that each dataset holds.
            done_rows: Rows of each dataset drawn before.
            earlier: Steps and validation scores of the evaluations before.
        """
        rows = dict.fromkeys(planned, 0) | dict(done_rows or {})
        self._pace = Pace(total_steps, done_steps, dict(planned), sizes, rows, began=monotonic())
        self._evaluations = list(earlier)
        total = sum(planned.values())
        draws = ", ".join(
            f"{name} {rows:,} ({_share(rows, total)}, {_passes(rows, sizes[name])})"
            for name, rows in planned.items()
        )
        since = f" from step {done_steps:,} on" if done_steps else ""
        self.say(f"training {total_steps:,} steps{since}; rows planned: {draws}")

    def replan(self, planned: Mapping[str, int], shares: Mapping[str, Fraction], step: int) -> None:
        """Tell of shares that follow the scores of an evaluation.

        Args:
            planned: Rows of each dataset that the whole run is now to draw.
            shares: Of each dataset, in the steps to come.
            step: The first of them, from 0.
        """
        self._pace.planned = dict(planned)
        if step < self._pace.total:
            told = ", ".join(f"{name} {float(share):.1%}" for name, share in shares.items())
            self.say(f"shares of the draws from step {step + 1:,} on: {told}")

    def step(self, losses: Mapping[str, float], tokens: int, rows: Mapping[str, int]) -> None:
        """Tell of one optimizer step.

        Args:
            losses: Mean loss of each task that the step had labels of, before weighting.
            tokens: Tokens of the step without padding.
            rows: Rows drawn from each dataset.
        """
        now = monotonic()
        self._pace.advance(losses, tokens, rows, now)
        self._display.show(self._pace, now)

    def restart(self, dataset: str, number: int) -> None:
        """Tell that a dataset has begun another pass; its first time says how often that will be.

        Args:
            dataset: Its name.
            number: Of the pass, 1 = the first.
        """
        if dataset in self._restarted:
            return
        self._restarted.add(dataset)
        pace = self._pace
        steps = pace.steps_of_a_pass(dataset)
        often = f"about every {steps:,.0f} steps" if steps >= 1.5 else "about every step"
        if steps < 0.5:
            often = "several times a step"
        self.say(
            f"dataset {dataset!r} starts again, reshuffled: pass {number} at step {pace.done:,}; it"
            f" will do so {often}, and its passes are counted beside its rows"
        )

    def evaluation(
        self,
        step: int,
        scores: Scores,
        primary: Mapping[str, str],
        mean: float | None,
        best: bool,
        best_step: int,
    ) -> None:
        """Show the table of an evaluation that has just ended.

        Args:
            step: Optimizer steps done.
            scores: Metrics of each task on validation.
            primary: The metric of each task that is shown.
            mean: Mean over the tasks; None where none is defined.
            best: Whether this is the best evaluation so far as the recipe selects.
            best_step: The step of the best one so far.
        """
        star = "*" if self._console.options.ascii_only else "★"
        standing = f"{star} best so far" if best else f"best so far: step {best_step:,}"
        title = f"evaluation at step {step:,} of {self._pace.total:,}   {standing}"
        table = evaluation_table(scores, primary, mean, self._evaluations, star=star)
        self._console.print(Text(title, "bold"), table, sep="\n")
        self._evaluations.append((step, scores))
        self._pace.pause(monotonic())

    def say(self, text: str) -> None:
        """Show a message as it is."""
        self._console.print(Text(text), soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._display.close()


def _bar(pace: Pace, width: int) -> RenderableType:
    bar = Table.grid(expand=True, padding=(0, 2, 0, 0))
    bar.add_column(no_wrap=True)
    bar.add_column(ratio=1)
    for _ in range(3):
        bar.add_column(no_wrap=True, justify="right")
    bar.add_row(
        Text(f"step {pace.done:,}/{pace.total:,}", "bold"),
        ProgressBar(total=max(pace.total, 1), completed=pace.done),
        Text(f"{_percent(pace)}%"),
        Text(f"{pace.tokens_per_second:,.0f} tokens/s", "green"),
        Text(_time(pace), "cyan"),
    )
    return Group(bar, *_flow("loss", _losses(pace), width), *_flow("rows", _draws(pace), width))


def _line(pace: Pace) -> Text:
    parts = [
        f"step {pace.done:,}/{pace.total:,} ({_percent(pace)}%)",
        "loss " + ", ".join(_losses(pace)),
        f"{pace.tokens_per_second:,.0f} tokens/s",
        _time(pace),
    ]
    if pace.done >= pace.total:
        parts.append("rows " + ", ".join(_draws(pace)))
    return Text("  ".join(parts))


def _losses(pace: Pace) -> list[str]:
    return [
        f"{task} {loss:.3f}" if 0.01 <= abs(loss) < 1000 else f"{task} {loss:.2g}"
        for task, loss in pace.losses.items()
    ]


def _draws(pace: Pace) -> list[str]:
    drawn, planned = sum(pace.rows.values()), sum(pace.planned.values())
    return [
        f"{name} {rows:,}/{pace.planned[name]:,} ({_share(rows, drawn)}, planned"
        f" {_share(pace.planned[name], planned)}, {_passes(rows, pace.sizes[name])})"
        for name, rows in pace.rows.items()
    ]


def _share(rows: int, total: int) -> str:
    return f"{rows / max(total, 1):.1%}"


def _passes(rows: int, size: int) -> str:
    """How often a dataset was gone through.

    >>> _passes(20, 20), _passes(21, 20), _passes(50, 20)
    ('1.0 passes', '1.0 passes', '2.5 passes')
    """
    return f"{rows / size:,.1f} passes"


def _percent(pace: Pace) -> int:
    return 100 * pace.done // max(pace.total, 1)


def _time(pace: Pace) -> str:
    """Time left, or in the end the time it took."""
    if pace.done >= pace.total:
        return f"in {_duration(pace.seconds)}"
    return "-:-- left" if pace.seconds_left is None else f"{_duration(pace.seconds_left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _flow(label: str, items: list[str], width: int) -> list[Text]:
    """Items side by side behind a label, on as many lines as they need."""
    lines: list[Text] = []
    for item in items:
        if not lines or len(lines[-1]) + len(item) + 3 > width:
            lines.append(Text.assemble((f"{label if not lines else '':<6}", "dim"), no_wrap=True))
        name, _, value = item.partition(" ")
        lines[-1].append(f"{name} ").append(value, "bold").append("   ")
    return lines
