"""What a training draws from and is judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mtl_nlp.data.passes import Numbers
from mtl_nlp.data.prepare import EncodedSplit
from mtl_nlp.data.streamed_split import StreamedSplit
from mtl_nlp.errors import UserError
from mtl_nlp.training.evaluation import LabelledRows
from mtl_nlp.training.further_metrics import NO_FURTHER_METRICS, FurtherMetrics


@dataclass(frozen=True)
class TrainingData:
    """What a training draws from and is judged by.

    Attributes:
        train: Encoded training rows, by dataset.
        datasets: The datasets of each task.
        validation: Labelled rows, one entry per dataset.
        further: Metrics that the recipe names beside the tasks' own.
    """

    train: Mapping[str, EncodedSplit | StreamedSplit]
    datasets: Mapping[str, Sequence[str]]
    validation: Sequence[LabelledRows]
    further: FurtherMetrics = NO_FURTHER_METRICS

    @cached_property
    def lengths(self) -> dict[str, Numbers]:
        """Sub-words of each training row, by dataset."""
        return {name: split.lengths for name, split in self.train.items()}

    @cached_property
    def encoder_rows(self) -> dict[str, Numbers]:
        """Encoder rows of each training row, by dataset."""
        return {name: split.encoder_rows for name, split in self.train.items()}

    @cached_property
    def fingerprints(self) -> dict[str, int]:
        """A number for each dataset that changes with the number, order or lengths of its rows."""
        return {name: split.fingerprint for name, split in self.train.items()}

    @property
    def sizes(self) -> dict[str, int]:
        """Training rows, by dataset."""
        return {name: len(split) for name, split in self.train.items()}

    def check_same(self, fingerprints: Mapping[str, int]) -> None:
        """Refuse to go on with other training rows.

        Args:
            fingerprints: Of those that a checkpoint was trained on; none where not known.

        Raises:
            UserError: Naming a dataset whose rows have changed.
        """
        now = self.fingerprints.items() if fingerprints else ()
        if changed := [name for name, value in now if fingerprints.get(name) != value]:
            raise UserError(
                f"--resume: the training rows of dataset {changed[0]!r} are not those that the"
                " checkpoint was trained on, in number, order or length; bring them back, or train"
                " anew with --overwrite"
            )
