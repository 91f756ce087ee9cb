"""Encoders of every family with random weights, small enough to be made in a test."""

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSeq2SeqLM,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SENTENCE = (
    "the a an and or but not is was are in of to for with on at by it this that he she they we i"
    " good bad great awful love loved hate film movie book day city company phone play music"
    " visited works lives said new old very never ##s ##ed ##ing ##er ##ly ##tion"
)
WORDS = _SENTENCE.split()
CHARACTERS = [c for c in string.printable if not c.isspace() and not c.isupper()]
VOCABULARY = list(dict.fromkeys([*SPECIAL, *CHARACTERS, *(f"##{c}" for c in CHARACTERS), *WORDS]))

_SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 514,
}
_SEQ2SEQ: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
_IDS: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}

LIFTABLE: dict[str, dict[str, Any]] = {
    "bert": _SIZE,
    "roberta": _SIZE,
    "xlm-roberta": _SIZE,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "electra": {**_SIZE, "embedding_size": 16},
    "deberta-v2": {
        **_SIZE,
        "relative_attention": True,
        "position_biased_input": False,
        "pos_att_type": ["p2c", "c2p"],
        "pooler_hidden_size": 32,
    },
    "modernbert": {**_SIZE, "cls_token_id": 2, "sep_token_id": 3},
    "albert": {**_SIZE, "embedding_size": 16},
    "mpnet": _SIZE,
}
"""Architectures whose own head can be taken off the encoder."""

NOT_LIFTABLE: dict[str, dict[str, Any]] = {
    "t5": {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 0,
    },
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    "bart": {**_SEQ2SEQ, "decoder_start_token_id": 3},
    "longformer": {**_SIZE, "attention_window": 4},
}
"""Architectures whose stock head cannot be taken off the encoder."""

PADDING_COUNTS: dict[str, dict[str, Any]] = {
    "fnet": {k: v for k, v in _SIZE.items() if k != "num_attention_heads"},
    "convbert": {**_SIZE, "embedding_size": 32, "head_ratio": 2, "conv_kernel_size": 9},
}
"""Architectures in which a row's hidden states depend on its padding; they are refused."""

_WITH_SEGMENTS = ("bert", "electra", "albert")


def tiny_config(architecture: str = "bert") -> PreTrainedConfig:
    """The configuration of a tiny encoder; architecture is a key of one of the tables above."""
    sizes = (LIFTABLE | NOT_LIFTABLE | PADDING_COUNTS)[architecture]
    return AutoConfig.for_model(architecture, **_IDS, **sizes)


def tiny_tokenizer(*, segments: bool = True) -> PreTrainedTokenizerFast:
    """WordPiece over `VOCABULARY`, lower-casing; characters beyond ASCII become ``[UNK]``.

    With segments it gives ``token_type_ids``, as BERT's does.
    """
    vocabulary = {token: i for i, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    segment_names = ["token_type_ids"] if segments else []
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        model_input_names=["input_ids", *segment_names, "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def tiny_encoder(folder: Path, architecture: str = "bert") -> Path:
    """Save a tiny encoder and its tokenizer into a folder, and give the folder back.

    The weights are the same in every call.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(tiny_config(architecture)).save_pretrained(folder)
    tiny_tokenizer(segments=architecture in _WITH_SEGMENTS).save_pretrained(folder)
    return folder


def tiny_seq2seq(folder: Path, architecture: str) -> Path:
    """Save a tiny encoder with its decoder, far from where weights start, and its tokenizer.

    Architectures are ``t5``, ``bart`` and those of its configuration: ``mbart``, ``m2m_100``.
    """
    config = tiny_config("t5" if architecture == "t5" else "bart")
    if architecture not in ("t5", "bart"):
        sizes = {k: v for k, v in config.to_diff_dict().items() if k != "model_type"}
        config = AutoConfig.for_model(architecture, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stock = AutoModelForSeq2SeqLM.from_config(config)
        for weights in {one.data_ptr(): one for one in stock.state_dict().values()}.values():
            weights += 0.1 * torch.randn_like(weights)
    stock.save_pretrained(folder)
    tiny_tokenizer(segments=False).save_pretrained(folder)
    return folder
