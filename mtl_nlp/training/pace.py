"""Where a training stands and how fast it goes."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

_LOSS_STEPS = 25  # a shown loss is, roughly, the mean over so many last steps
_PACE_STEPS = 50  # tokens per second are over so many last steps


@dataclass
class Pace:
    """Where a training stands, as running numbers; times are seconds of a monotonic clock."""

    total: int  # optimizer steps of the whole run
    done: int
    planned: Mapping[str, int]  # dataset -> rows of the whole run
    sizes: Mapping[str, int]  # dataset -> rows of one pass
    rows: dict[str, int]  # dataset -> rows drawn
    began: float
    resumed_at: int = field(init=False)
    losses: dict[str, float] = field(init=False, default_factory=dict)  # task -> to be shown

    def __post_init__(self) -> None:
        self.resumed_at = self.done
        self._last = self.now = self.began
        self._means: dict[str, tuple[float, int]] = {}  # task -> smoothed loss, finite ones seen
        self._tokens: deque[tuple[float, int]] = deque(maxlen=_PACE_STEPS)

    def advance(
        self, losses: Mapping[str, float], tokens: int, rows: Mapping[str, int], now: float
    ) -> None:
        """Count one optimizer step that ended now.

        A loss that is not finite is shown as it is until the next one, and kept out of the mean.
        """
        self.done += 1
        for task, loss in losses.items():
            if isfinite(loss):
                mean, seen = self._means.get(task, (0.0, 0))
                loss = mean + (loss - mean) / min(seen + 1, _LOSS_STEPS)
                self._means[task] = loss, seen + 1
            self.losses[task] = loss
        for dataset, drawn in rows.items():
            self.rows[dataset] = self.rows.get(dataset, 0) + drawn
        self._tokens.append((now - self._last, tokens))
        self._last = self.now = now

    def pause(self, now: float) -> None:
        """Leave the time since the last step out of the tokens per second."""
        self._last = now

    def steps_of_a_pass(self, dataset: str) -> float:
        """Optimizer steps in which a dataset is gone through once, as it was drawn so far."""
        return self.done * self.sizes[dataset] / self.rows[dataset]

    @property
    def tokens_per_second(self) -> float:
        """Tokens without padding per second of training, over the last steps."""
        seconds = sum(seconds for seconds, _ in self._tokens)
        return sum(tokens for _, tokens in self._tokens) / seconds if seconds > 0 else 0.0

    @property
    def seconds(self) -> float:
        """Time from the start to the last step, evaluations included."""
        return self.now - self.began

    @property
    def seconds_left(self) -> float | None:
        """Time to the last step, evaluations at their present share; None before a first step."""
        if self.done == self.resumed_at:
            return None
        return self.seconds / (self.done - self.resumed_at) * max(self.total - self.done, 0)
