"""Pretrained encoders: which one a name means, and how it is loaded whole."""

from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from mtl_nlp.errors import ModelError
from mtl_nlp.model.configuration import MultiTaskConfig, set_dropout
from mtl_nlp.model.sources import Source, explained, forget_folder, load_weights, refuse_gaps
from mtl_nlp.packages import PREFIX, package_folder


def resolve_encoder(name: str) -> str:
    """The folder or Hub id that a recipe's ``encoder`` means.

    ``package:NAME`` is the folder with ``config.json`` and weights inside an installed package.

    Raises:
        ModelError: If the package is not installed or holds no such folder.
    """
    if not name.startswith(PREFIX):
        return name
    try:
        root = package_folder(name)
    except LookupError as error:
        raise ModelError(f"encoder: {error}") from None
    folders = sorted(path.parent for path in root.rglob("model.safetensors"))
    folders = [folder for folder in folders if (folder / "config.json").is_file()]
    if len(folders) != 1:
        raise ModelError(
            f"encoder: expected one folder with config.json and model.safetensors in"
            f" {name}, found {len(folders)}; give the folder itself"
        )
    return str(folders[0])


def load_encoder(source: Source, dropout: float | None) -> PreTrainedModel:
    """A pretrained encoder of texts in float32, or the encoder-decoder model it is part of.

    Args:
        source: Where it is.
        dropout: Probability for its every dropout; None: its own.

    Raises:
        ModelError: If there is none, it is not whole, or it is no encoder of texts.
        HubError: If the Hub refuses or cannot be reached.
    """
    with explained(source, what="encoder"):
        config = AutoConfig.from_pretrained(
            source.name, revision=source.revision, token=source.token
        )
        if isinstance(config, MultiTaskConfig):
            raise ModelError(
                f"encoder {source}: expected a bare encoder, found a model of this package; in"
                " a recipe name it as `warm_start.model`, beside the encoder that it was trained"
                " from"
            )
        if dropout is not None:
            set_dropout(config, dropout)
        base, told = load_weights("AutoModel", source, config)
    # Checkpoints of other tasks often come without the pooler, which a head then starts afresh.
    refuse_gaps(told, source, what="encoder", optional="pooler")
    if base.main_input_name != "input_ids":
        raise ModelError(
            f"encoder {source}: expected an encoder of texts, found {type(base).__name__}, which"
            f" reads {base.main_input_name}"
        )
    forget_folder(base.config)
    return base


def shared_part(base: PreTrainedModel) -> PreTrainedModel:
    """The encoder of an encoder-decoder model, or the model itself."""
    config: PreTrainedConfig = base.config
    return base.get_encoder() if config.is_encoder_decoder else base
