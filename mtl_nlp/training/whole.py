"""What of a training needs the whole model on each device."""

from accelerate.utils import DistributedType

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe_training import TrainingSpec

_KEYS = ("unfreeze", "ema", "regularization")


def check_whole(spec: TrainingSpec, distributed: DistributedType) -> None:
    """Refuse what takes weights one by one where no process has them.

    Raises:
        RecipeError: If the model lies in parts on several devices.
    """
    sharded = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)
    asked = [key for key in _KEYS if getattr(spec, key) is not None]
    if asked and distributed in sharded:
        raise RecipeError(
            f"training.{asked[0]}: it needs the whole model on each device, but"
            f" {distributed.value} shares it out; leave it out, or use processes with copies of the"
            " model"
        )
