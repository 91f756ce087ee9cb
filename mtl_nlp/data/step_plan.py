"""Which rows make up one optimizer step."""

from dataclasses import dataclass

from mtl_nlp.data.apportion import Ints


@dataclass(frozen=True, eq=False)
class StepPlan:
    """The rows of one optimizer step."""

    step: int  # from 0
    # Dataset -> rows, pass by pass; only datasets drawn from. Of a stream they are numbered on and
    # on over the passes, in the order that they are read.
    rows: dict[str, Ints]
    restarts: dict[str, int]  # dataset -> the pass (1 = the second) that it starts in this step

    @property
    def counts(self) -> dict[str, int]:
        """Rows of every dataset in the step."""
        return {name: len(rows) for name, rows in self.rows.items()}
