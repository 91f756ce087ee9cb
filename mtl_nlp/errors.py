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
