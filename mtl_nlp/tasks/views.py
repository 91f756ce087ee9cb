"""How a task sees a dataset row: the texts of it that the encoder reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mtl_nlp.words import Row


@dataclass(frozen=True)
class View:
    """The text of a row, or its pair of texts, as it is.

    Tasks with equal views of a row share what the encoder makes of it; another view is another row
    of the same forward. Other views are subclasses, with what tells them apart as their fields.
    """

    many: ClassVar[bool] = False
    """Whether a row may be any number of texts: the logits of a row are then those of each."""

    def texts(self, row: Row) -> Sequence[Row]:
        """The texts, or pairs of texts, that the encoder reads of a row, each by itself."""
        return (row,)


PLAIN = View()
