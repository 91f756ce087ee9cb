"""R-Drop: what two networks of the same dropout predict must be alike."""

from collections.abc import Mapping

from torch import Tensor

from mtl_nlp.model.batch import Batch
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.training.task_losses import TaskLosses


class RDropLosses(TaskLosses):
    """The mean of the losses of two passes, and how far these are from each other.

    Liang et al. (2021, arXiv:2106.14448), as their code has it: of a task with the weight α

        (L1 + L2) / 2 + α (KL(p1 || p2) + KL(p2 || p1)) / 2

    A task without a weight keeps its loss, that of the first pass. Both passes draw their dropout
    one after the other from the numbers of the step, so a resumed training repeats it; as with any
    dropout, it is another one where a step is cut otherwise. With dropout 0 both passes are one:
    nothing is added.

    Args:
        weights: α of each task.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights

    def totals(self, model: MultiTaskModel, batch: Batch, key: int) -> dict[str, Tensor]:
        """The sums; see the base class."""
        del key
        one = model(**batch)
        totals = {name: its.total for name, its in one.sums.items()}
        names = [name for name in totals if name in self.weights]
        if not names:
            return totals
        other = model(**batch, tasks=names)
        for name in names:
            task, labels = model.tasks[name], batch.targets[name].labels
            assert labels is not None
            apart = task.divergence(one.logits[name], other.logits[name], labels)
            loss = (totals[name] + other.sums[name].total) / 2
            totals[name] = loss + self.weights[name] * apart / 2
        return totals
