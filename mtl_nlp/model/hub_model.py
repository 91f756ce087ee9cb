"""A model that knows where it came from, and leaves memory whole: with tokenizer and card."""

import os
from typing import Any, Self

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mtl_nlp.errors import ModelError
from mtl_nlp.model.sources import Source


class HubModel(PreTrainedModel):
    """Loads from a folder or the Hub, and is published in place of transformers' own way.

    Attributes:
        source: Where the model or its encoder was loaded from, and so its tokenizer can be; no
            token is kept in it. None for one that was built from a configuration.
    """

    source: Source | None = None

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Self:
        """Load a saved model, as every transformers model is; weights only from safetensors.

        With ``task_types={"my_module:MyTask": MyTask}`` also tasks of types of your own.
        """
        kwargs["use_safetensors"] = True
        loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model: Self = loaded[0] if isinstance(loaded, tuple) else loaded  # with output_loading_info
        model.source = Source(os.fspath(pretrained_model_name_or_path), kwargs.get("revision"))
        return loaded  # type: ignore[no-any-return]

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *args: Any,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save the model into a folder, as every transformers model is.

        Raises:
            ModelError: If it is to be pushed as well: that would leave out tokenizer and card.
        """
        if push_to_hub or any(args[2:3]):  # the third of transformers' own, given by its place
            raise ModelError(
                "save_pretrained saves the model alone, and a push from it would leave out the"
                " tokenizer and the card; publish with model.push_to_hub(repo_id) instead"
            )
        super().save_pretrained(save_directory, *args, **kwargs)

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        commit_message: str = "Upload model",
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
    ) -> str:
        """Publish the model with its tokenizer and a card, so that ``pipeline(repo_id)`` loads it.

        Args:
            repo_id: ``owner/name``, or ``name`` for the token's own account; made if it is missing.
            tokenizer: By default the one that lies where the model or its encoder was loaded from.
            commit_message: Title of the commit.
            private: Whether a repository that is made now is private; None: as its owner has set.
            token: A token that may write; by default the one that is logged in.
            revision: Branch, made from ``main`` if it is missing; ``main`` by default.

        Returns:
            The repository's page.

        Raises:
            ModelError: If no tokenizer is given and none can be found.
            HubError: If the Hub refuses or stays out of reach.
        """
        # Against the direction of imports: whatever way a model was loaded, AutoModel's included,
        # it has to have this method, and attached from above it would have it only once the hub
        # room had been imported, and until then transformers' own.
        from mtl_nlp.hub.publish_model import push_model

        pushed = push_model(
            self,
            repo_id,
            tokenizer=tokenizer,
            message=commit_message,
            private=private,
            token=token,
            revision=revision,
        )
        return pushed.url
