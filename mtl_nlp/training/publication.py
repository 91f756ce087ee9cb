"""A run is published: its checkpoints as they come, and the whole of it at its end."""

from collections.abc import Callable
from pathlib import Path

from mtl_nlp.errors import HubError, UserError
from mtl_nlp.hub.card import CARD, write_card
from mtl_nlp.hub.publish import push_folder
from mtl_nlp.recipe import Recipe
from mtl_nlp.training.folder import Run


class UnpublishedError(HubError):
    """A finished run that the Hub refused, or that could not reach it.

    Attributes:
        run: The run, whole in its folder.
    """

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run


def publish_run(
    run: Run, recipe: Recipe, say: Callable[[str], None], *, again: bool = False
) -> None:
    """Write the card, which never costs a run, and send the folder if the recipe says so.

    Args:
        run: What training left.
        recipe: Says whether and where it is published.
        say: Told what the card lacks, and where the run went.
        again: Do only what was not done before.

    Raises:
        UnpublishedError: If it could not be sent; tells how to send it again.
    """
    if not again or not (run.path / CARD).exists():
        try:
            problems = write_card(run.path, overwrite=True).problems
        except UserError as error:
            problems = (str(error),)
        for problem in problems:
            say(f"model card: {problem}")
    done = run.path / ".published"  # hidden, so that it is not sent
    repo_id = recipe.hub.repo_id
    told = done.read_text(encoding="utf-8").strip() if again and done.exists() else None
    if repo_id and recipe.hub.push != "never" and told != repo_id:
        try:
            pushed = push_folder(run.path, repo_id, private=recipe.hub.private)
        except HubError as error:
            raise UnpublishedError(str(error), run) from error
        done.write_text(f"{repo_id}\n", encoding="utf-8")
        say(f"published: {pushed.url}")


def checkpoint_publisher(
    recipe: Recipe, say: Callable[[str], None]
) -> Callable[[Path, int], None] | None:
    """Publishes checkpoints as they come, where the recipe wants that; a failure is only told."""
    repo_id = recipe.hub.repo_id
    if repo_id is None or recipe.hub.push != "checkpoint":
        return None

    def publish(folder: Path, step: int) -> None:
        try:
            push_folder(folder, repo_id, private=recipe.hub.private, message=f"Step {step}")
        except HubError as error:
            say(f"this checkpoint was not published: {error}")

    return publish
