"""FSDP2 on CPUs: torch shares weights out over gloo, but Accelerate asks it to on GPUs alone."""

import os
from pathlib import Path
from typing import Any

from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env
from torch.distributed.tensor import DTensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

CONFIGURATIONS = Path(__file__).parents[1] / "recipes" / "accelerate"


def environment_of(configuration: str, *words: str) -> dict[str, str]:
    """What `accelerate launch` with a configuration of ours sets for its processes."""
    path = str(CONFIGURATIONS / f"{configuration}.yaml")
    launch = ["--config_file", path, *words, "-m", "mtl_nlp", "train", "recipe.yaml"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(launch))
    names = ("ACCELERATE_", "FSDP_")
    return {k: v for k, v in prepare_multi_gpu_env(args).items() if k.startswith(names)}


def shard_on_cpus() -> None:
    """Let Accelerate do in this process what fsdp2.yaml lets it do on GPUs."""
    os.environ.update(environment_of("fsdp2"))
    begin = AcceleratorState.__init__

    def begin_sharded(self: AcceleratorState, *args: Any, **options: Any) -> None:
        plugin = options.get("fsdp_plugin")
        begin(self, *args, **options)
        if plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = begin_sharded  # type: ignore[method-assign]
    register_optimizer_step_pre_hook(_assert_in_parts)


def _assert_in_parts(optimizer: Optimizer, *_: Any) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    assert all(isinstance(p, DTensor) for p in parameters), "weights are whole"
