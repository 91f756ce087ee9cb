"""A stock fine-tuned checkpoint of one task, taken apart into encoder, task and head."""

import copy
from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from mtl_nlp.errors import ModelError
from mtl_nlp.heads.stock import StockHead, lay_anew, lifting_problem, probe, probed, stock_class
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.sources import Source, explained, forget_folder, load_weights, refuse_gaps
from mtl_nlp.tasks import TASK_TYPES
from mtl_nlp.tasks.base import Task


@dataclass(frozen=True)
class TakenApart:
    """The parts of a stock model, in float32 and evaluation mode.

    Attributes:
        encoder: The bare encoder, as ``AutoModel`` builds it.
        task: What the checkpoint was fine-tuned for.
        head: Its head, which gives its logits on the encoder's states bit for bit.
    """

    encoder: PreTrainedModel
    task: Task
    head: StockHead


def take_apart(source: Source, name: str) -> TakenApart:
    """Encoder, task and head of a stock checkpoint.

    Args:
        source: Where it is.
        name: What the task is to be called.

    Raises:
        ModelError: If it is not there or not whole, no task type has its kind of head, its labels
            are not those of a task type, or its head computes otherwise without its encoder.
        HubError: If the Hub refuses or cannot be reached.
    """
    with explained(source, what="model"):
        config = AutoConfig.from_pretrained(
            source.name, revision=source.revision, token=source.token
        )
        task = _task(source, config, name)
        stock, told = load_weights(str(task.auto_class), source, config)
    refuse_gaps(told, source, what="model")
    lay_anew(stock)
    try:
        encoder, head = _split(stock, task)
    except ValueError as error:
        raise ModelError(
            f"model {source}: its head cannot be taken off its encoder: {error}; name it as"
            " `encoder:` in a recipe and train its task anew"
        ) from None
    return TakenApart(encoder, task, head)


def _task(source: Source, config: PreTrainedConfig, name: str) -> Task:
    """What the checkpoint was fine-tuned for, by its architecture and labels."""
    if isinstance(config, MultiTaskConfig):
        raise ModelError(
            f"model {source}: expected a stock transformers model, found one of this package; load"
            " it with MultiTaskModel.from_pretrained"
        )
    classes = {
        cls: stock_class(cls.auto_class, config)
        for cls in TASK_TYPES.values()
        if cls.auto_class is not None
    }
    named = list(config.architectures or ())
    reasons = []
    for cls in (cls for cls, stock in classes.items() if stock in named):
        try:
            return cls.of_stock(name, config)
        except ValueError as error:
            reasons.append(str(error))
    if reasons:
        raise ModelError(f"model {source}: {'; '.join(reasons)}")
    known = sorted({stock for stock in classes.values() if stock is not None})
    raise ModelError(
        f"model {source}: expected a fine-tuned model of one task, for a {config.model_type}"
        f" encoder one of {', '.join(known) or 'no class'}, found architectures {named} in"
        " config.json; a bare encoder is named as `encoder:` in a recipe"
    )


@torch.no_grad()
def _split(stock: PreTrainedModel, task: Task) -> tuple[PreTrainedModel, StockHead]:
    """Encoder and head.

    Raises:
        ValueError: If together they do not compute what the stock model does.
    """
    config = copy.deepcopy(stock.config)
    if config.is_encoder_decoder:
        raise ValueError(f"{type(stock).__name__} reads the decoder's states")
    config.num_labels, config.architectures, config.problem_type = 2, None, None  # the head's own
    forget_folder(config)
    head = task.build_head(config)
    assert isinstance(head, StockHead)
    base = getattr(stock, head.prefix)
    encoder: PreTrainedModel = AutoModel.from_config(config, dtype=torch.float32)
    absent, strange = encoder.load_state_dict(base.state_dict(), strict=False)
    absent = [key for key in absent if "pooler" not in key.split(".")]
    if absent or strange:
        raise ValueError(f"{type(base).__name__} and the bare encoder differ in {absent + strange}")
    head.adopt(stock)
    encoder.eval(), head.eval(), stock.eval()
    if problem := lifting_problem(head, encoder):
        raise ValueError(problem)
    batch = probe(encoder)
    if not torch.equal(head(probed(encoder, batch)), head.logits_of(stock, batch)):
        raise ValueError(f"{type(stock).__name__} computes other logits than its head alone")
    return encoder, head
