"""Where models come from, a folder or a Hub repository, and what goes wrong on the way."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    StrictDataclassError,
)
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel

from mtl_nlp.errors import HubError, ModelError, UserError


@dataclass(frozen=True)
class Source:
    """A model's folder or Hub repository.

    Attributes:
        name: The folder, or ``org/name`` on the Hub.
        revision: Branch, tag or commit of the repository; None: its main branch.
        token: Hub token for a private one; None: the one that is logged in.
    """

    name: str
    revision: str | None = None
    token: str | None = None

    @classmethod
    def parse(
        cls,
        name_or_path: str | os.PathLike[str],
        revision: str | None = None,
        token: str | None = None,
    ) -> "Source":
        """A source as users write it: a folder, ``org/name`` or ``org/name@revision``.

        Raises:
            ModelError: If two different revisions are given.
        """
        name, at, written = os.fspath(name_or_path).rpartition("@")
        if not at or Path(name_or_path).exists():
            return cls(os.fspath(name_or_path), revision, token)
        if revision not in (None, written):
            raise ModelError(f"{name_or_path}: expected one revision, found {revision!r} as well")
        return cls(name, written, token)

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


@contextmanager
def explained(source: Source, *, what: str) -> Iterator[None]:
    """Turn what the libraries raise while they load into errors that the user can mend.

    Args:
        source: Where they load from.
        what: What is being loaded, the message's first word: ``model``, ``encoder`` ….

    Raises:
        HubError: If the Hub refuses or cannot be reached.
        ModelError: If what is there cannot be loaded.
    """
    try:
        yield
    except UserError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        ImportError,
        HfHubHTTPError,
        SafetensorError,
        StrictDataclassError,
    ) as error:
        place = f"{what} {source}"
        if reason := _hub_reason(error, source):
            raise HubError(f"{place}: {reason}") from error
        raise ModelError(f"{place}: {_content_reason(error, source)}") from error


def load_weights(
    auto_class: str, source: Source, config: PreTrainedConfig
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """What a transformers auto class loads in float32, from safetensors only, and what it tells.

    Weights that are missing or of another size are for `refuse_gaps`, which names them.
    """
    loaded: tuple[PreTrainedModel, dict[str, Any]] = getattr(
        transformers, auto_class
    ).from_pretrained(
        source.name,
        config=config,
        revision=source.revision,
        token=source.token,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    return loaded


def refuse_gaps(
    loading_info: Mapping[str, Any], source: Source, *, what: str, optional: str | None = None
) -> None:
    """Refuse a model some of whose weights were not in its files, and so are random.

    Args:
        loading_info: What ``from_pretrained(…, output_loading_info=True)`` told.
        source: Where it came from.
        what: What was loaded, the message's first word.
        optional: Name of a part that may be missing.

    Raises:
        ModelError: Names the weights.
    """
    names = sorted(loading_info["missing_keys"])
    names += sorted(str(name) for name, *_ in loading_info["mismatched_keys"])
    names = [name for name in names if optional is None or optional not in name.split(".")]
    if names:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise ModelError(
            f"{what} {source}: config.json describes weights that the safetensors files lack or"
            f" hold in another size: {shown}; the two do not belong together, so copy, download or"
            " save both again"
        )


def forget_folder(config: PreTrainedConfig) -> None:
    """Drop the path that a configuration came from, which means nothing on another machine."""
    if Path(config._name_or_path).exists():
        config._name_or_path = ""


def _hub_reason(error: BaseException, source: Source) -> str | None:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, GatedRepoError):
            return "the repository is gated; ask for access on its page on the Hub, and log in"
        if isinstance(cause, RepositoryNotFoundError):
            return (
                "expected a folder, or a repository on the Hub, found neither; check the name, and"
                " if the repository is private, log in with `hf auth login` or give a token"
            )
        if isinstance(cause, RevisionNotFoundError):
            return f"the repository has no revision {source.revision!r}; name one that it has"
        if isinstance(cause, LocalEntryNotFoundError):
            return (
                "no such folder is here, the Hub could not be reached, and its cache on this"
                " machine lacks it; check the name and the network"
            )
        if isinstance(cause, HfHubHTTPError):
            return f"the Hub answered {cause.response.status_code}; try again later"
    return None


def _content_reason(error: BaseException, source: Source) -> str:
    if Path(source.name).is_file():
        return "expected a folder, found a file; name the folder it lies in"
    if any(isinstance(cause, HFValidationError) for cause in _causes(error)):
        return "there is no such folder, and it is no name that a Hub repository can have"
    if isinstance(error, SafetensorError):
        return f"its safetensors file is damaged ({error}); copy or download it again"
    if isinstance(error, json.JSONDecodeError) or "valid JSON" in str(error):
        return f"one of its JSON files is damaged ({_first_line(error)}); copy or save it again"
    if isinstance(error, OSError) and "safetensors" in str(error):
        return (
            "expected weights in model.safetensors, found none; weights in other files, such as"
            " pytorch_model.bin, can run code and are not loaded: save them as safetensors, with"
            " transformers' save_pretrained"
        )
    return f"it does not load with the installed transformers: {_first_line(error)}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
