"""What each task loses on a piece of a step."""

from abc import ABC, abstractmethod

from torch import Tensor

from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel


class TaskLosses(ABC):
    """Makes of a piece of a step a sum for each task, over the items that the task counts.

    Divided by the count of the whole step it is a mean, so a step is the same however it is cut.
    """

    @abstractmethod
    def totals(self, model: MultiTaskModel, batch: Batch, key: int) -> dict[str, Tensor]:
        """The sum of each task that the piece has labels of, a scalar.

        Args:
            model: In training mode.
            batch: The piece, with targets.
            key: A number of the seed and the step, for what is drawn at random.
        """


class PlainLosses(TaskLosses):
    """The tasks' own losses and nothing else."""

    def totals(self, model: MultiTaskModel, batch: Batch, key: int) -> dict[str, Tensor]:
        """The sums; see the base class."""
        del key
        return {name: one.total for name, one in model(**batch).sums.items()}


PLAIN = PlainLosses()
