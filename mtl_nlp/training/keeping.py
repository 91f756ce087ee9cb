"""The checkpoints of a training: written, published, and removed to make room."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from mtl_nlp.errors import UserError
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.training.checkpoints import checkpoints, rotate, write_checkpoint
from mtl_nlp.training.learning import Learning
from mtl_nlp.training.sharding import gathered, is_sharded
from mtl_nlp.training.state import TrainingState, load_state


class Keeping:
    """Keeps the newest checkpoints of a training, and the best.

    Args:
        folder: Where they are.
        keep: How many of the newest stay.
        model: Written into each.
        tokenizer: The same.
        learning: The same.
        accelerator: Of whose processes the main one writes.
        say: Told where the disk would not take a checkpoint.
        published: Called with a checkpoint's folder and step once it is whole.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        model: MultiTaskModel,
        tokenizer: PreTrainedTokenizerBase,
        learning: Learning,
        accelerator: Accelerator,
        say: Callable[[str], None],
        published: Callable[[Path, int], None] | None = None,
    ) -> None:
        self.folder, self.keep, self.accelerator = folder, keep, accelerator
        self.model, self.tokenizer, self.learning = model, tokenizer, learning
        self.say, self.published = say, published

    def write(self, state: TrainingState) -> Path | None:
        """Write where the training stands; old checkpoints make room, the best one stays.

        Returns:
            Its folder; None if the disk would not take it, which is told.
        """
        problem = None
        optimizer = self.learning.optimizer_state()
        weights = gathered(self.model.state_dict()) if is_sharded(self.accelerator) else None
        fill = partial(self._fill, state, weights, optimizer)
        if self.accelerator.is_main_process:
            try:
                path = write_checkpoint(self.folder, state.step, fill)
            except OSError as error:
                problem = str(error)
            else:
                self._make_room()
                if self.published is not None:
                    self.published(path, state.step)
        problem = broadcast_object_list([problem])[0]
        if problem is None:
            return self.folder / f"step-{state.step:06d}"
        newest = self.newest()
        self.say(
            f"warning: no checkpoint at step {state.step:,}: {problem}; the newest is"
            f" {newest.name if newest else 'none'}, and the training goes on"
        )
        return None

    def newest(self) -> Path | None:
        """The folder of the newest checkpoint, if there is one."""
        whole = checkpoints(self.folder)
        return whole[-1].path if whole else None

    def best(self, step: int) -> Path:
        """The folder of the model that evaluated best.

        Args:
            step: Optimizer steps that were done then.

        Raises:
            UserError: If the disk took no checkpoint of an evaluated model.
        """
        found = {one.step: one.path for one in checkpoints(self.folder)}
        if step not in found:
            raise UserError(
                f"output: no evaluated model could be written to {self.folder}, so"
                " the run has none to keep; free space there, and train anew with --overwrite"
            )
        return found[step]

    def _make_room(self) -> None:
        newest = checkpoints(self.folder)[-self.keep :]
        rotate(self.folder, self.keep, {load_state(one.path).selection.step for one in newest})

    def _fill(
        self,
        state: TrainingState,
        weights: dict[str, Tensor] | None,
        optimizer: Mapping[str, Any],
        folder: Path,
    ) -> None:
        try:
            with self.learning.averaged():
                self.model.save_pretrained(folder, state_dict=weights)
            self.tokenizer.save_pretrained(folder)
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(f"model.safetensors could not be written ({error})") from error
        self.learning.save(folder, state, optimizer)
