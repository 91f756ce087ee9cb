"""How a task sees a dataset row: the texts of it that the encoder reads."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mtl_nlp.ragged import Ragged
from mtl_nlp.vocabulary import Vocabulary
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

    @property
    def stored(self) -> "View":
        """The view whose encoder rows are kept for this one."""
        return self

    def lacks(self, row: Row, vocabulary: Vocabulary) -> str:
        """What a row that is accepted still lacks for a prediction; nothing by default."""
        del row, vocabulary
        return ""


PLAIN = View()

NOT_ASKED = -3
"""Stands for the word of a sub-word that a drawn view does not ask for."""


@dataclass(frozen=True)
class Read:
    """Encoder rows as they are to be read.

    Attributes:
        input_ids: Sub-words, row after row.
        words: Word of each sub-word that the task is asked for, `NOT_ASKED` in the place of other
            words, negative as before where there is none.
    """

    input_ids: Ragged
    words: Ragged


class DrawnView(View):
    """What is drawn anew, whenever a row is read, from the encoder rows of the plain view.

    The encoded labels of a task with such a view are the sub-words that it is asked for, as they
    stood there before; what its `Task.encode` gives only tells that a row is labelled.
    """

    @property
    def stored(self) -> View:
        """The plain view."""
        return PLAIN

    @abstractmethod
    def draw(
        self,
        input_ids: Ragged,
        words: Ragged,
        key: int,
        places: np.ndarray,
        vocabulary: Vocabulary,
    ) -> Read:
        """What is read in training and evaluation.

        Each row of it must be a function of the key, of this row and of its place alone.

        Args:
            input_ids: Sub-words, encoder row after encoder row.
            words: Word of each, negative for none.
            key: Another one for each step.
            places: In training a number for each dataset row, so that rows that are equal are drawn
                apart; in evaluation 0, (encoder rows,).
            vocabulary: What the sub-words are.
        """

    @abstractmethod
    def show(self, input_ids: Ragged, words: Ragged, vocabulary: Vocabulary) -> Read:
        """What is read of a user's text; the arguments are those of `draw`."""
