"""Mistakes a user can mend; messages say what was expected, found, where, and the mend."""


class UserError(Exception):
    """A mistake that the user can mend; its message is one paragraph, shown without a traceback."""


class RecipeError(UserError):
    """The recipe is wrong: its message names the key."""


class DataError(UserError):
    """Rows or files are wrong: its message names the dataset, split, row and column."""


class ModelError(UserError):
    """A model folder, encoder or head cannot do what is asked of it."""


class HubError(UserError):
    """The Hub refused or could not be reached."""


class ElsewhereError(Exception):
    """Another process of a training has failed, and this one with it.

    Attributes:
        status: The exit status of that process.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
