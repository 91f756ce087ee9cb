"""The head that an encoder was pretrained with, where its checkpoint still has it."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedConfig
from transformers.utils import logging as transformers_logging

from mtl_nlp.heads.stock import StockHead
from mtl_nlp.model.sources import Source, explained, load_weights


def adopt_pretrained(head: StockHead, source: Source, config: PreTrainedConfig) -> bool:
    """Start a head from the one in an encoder's checkpoint.

    Args:
        head: Of a pretraining task; stays as it is if the checkpoint lacks any of its weights.
        source: Where the encoder was loaded from.
        config: The encoder's configuration.

    Returns:
        Whether the checkpoint has it.

    Raises:
        ModelError: If what is there does not load.
        HubError: If the Hub refuses or cannot be reached.
    """
    with explained(source, what="encoder"), _silent():
        stock, told = load_weights(head.auto_class, source, copy.deepcopy(config))
    absent = {*told["missing_keys"], *(str(name) for name, *_ in told["mismatched_keys"])}
    if not absent.isdisjoint(head.stock.state_dict()):
        return False
    head.adopt(stock)
    return True


@contextmanager
def _silent() -> Iterator[None]:
    """Of a head that is not there transformers warns as of a damaged checkpoint."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
