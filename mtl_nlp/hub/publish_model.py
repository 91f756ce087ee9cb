"""A model in memory becomes a Hub repository that the pipeline loads: tokenizer and card along."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import PreTrainedTokenizerBase

from mtl_nlp.errors import HubError, ModelError, UserError
from mtl_nlp.hub.card import CARD, write_card
from mtl_nlp.hub.publish import MESSAGE, PushResult, push_folder
from mtl_nlp.model.hub_model import HubModel
from mtl_nlp.model.loading import load_tokenizer
from mtl_nlp.model.sources import Source


def push_model(
    model: HubModel,
    repo_id: str,
    *,
    tokenizer: PreTrainedTokenizerBase | None,
    message: str,
    private: bool | None,
    token: str | None,
    revision: str | None,
) -> PushResult:
    """Publishes a model with its tokenizer and a card as one commit.

    A card in the repository that is a person's own stays.

    Raises:
        ModelError: If no tokenizer is given and none can be found.
        HubError: If the Hub refuses or stays out of reach.
    """
    options = {
        "commit_message": None if message == MESSAGE else message,
        "private": private,
        "revision": revision,
    }
    objects = [
        name for name, one in (("tokenizer", tokenizer), ("token", token)) if one is not None
    ]
    mend = f"Mend that and call push_to_hub again: {_call(repo_id, options, objects)}"
    tokenizer = tokenizer or _tokenizer_of(model.source, token)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _keep_card(folder, repo_id, token, revision, mend)
        refresh_card(folder, repo_id)
        return push_folder(
            folder,
            repo_id,
            private=private,
            message=message,
            token=token,
            revision=revision,
            mend=mend,
        )


def refresh_card(folder: Path, repo_id: str) -> None:
    """Has the card name the repository it goes to, unless it is a person's own.

    A card that cannot be written costs no push.
    """
    with suppress(ModelError):
        write_card(folder, repo_id=repo_id)


def _call(repo_id: str, options: Mapping[str, object], objects: Sequence[str]) -> str:
    """The call that publishes a model, with the options that are not None, and objects by name."""
    words = [repr(repo_id), *(f"{name}={name}" for name in objects)]
    words += [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return f"model.push_to_hub({', '.join(words)})"


def _tokenizer_of(source: Source | None, token: str | None) -> PreTrainedTokenizerBase:
    mend = "pass it to push_to_hub as tokenizer=, so that others can load the model"
    if source is None:
        raise ModelError(f"the model does not know its tokenizer; {mend}")
    try:
        return load_tokenizer(source.name, source.revision, token)
    except UserError as error:
        raise ModelError(f"the model's tokenizer was not found: {error}; {mend}") from error


def _keep_card(
    folder: Path, repo_id: str, token: str | None, revision: str | None, mend: str
) -> None:
    """The repository's card, from which the new one takes a person's words."""
    try:
        if "/" not in repo_id:
            repo_id = f"{HfApi(token=token).whoami()['name']}/{repo_id}"
        # A cache of its own: from the usual one an old card comes where the Hub does not answer.
        cache = folder.parent / "cache"
        found = hf_hub_download(repo_id, CARD, token=token, revision=revision, cache_dir=cache)
        (folder / CARD).write_bytes(Path(found).read_bytes())
    except (LocalEntryNotFoundError, HfHubHTTPError) as error:
        absent = (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError)
        if isinstance(error, absent) and not isinstance(error, LocalEntryNotFoundError):
            return
        # Without a look at the card that is there, a person's own could be written over.
        raise HubError(
            f"the model was not pushed to {repo_id}: the Hub did not tell whether a card is there"
            f" ({type(error).__name__}); look at the network and the token. {mend}"
        ) from None
    except HFValidationError:
        return  # the push tells it
