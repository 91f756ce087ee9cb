"""What is refused before weights are shared out, and that whole states stay as they are."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from torch.optim import AdamW

from mtl_nlp.errors import RecipeError, UserError
from mtl_nlp.training.sharding import check_sharded, gathered, spread
from tests.kills import assert_same_bits


def test_what_would_silently_not_be_shared_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one: Any = SimpleNamespace(
        distributed_type=DistributedType.MULTI_CPU, num_processes=2, device=torch.device("cpu")
    )
    check_sharded(one, SimpleNamespace(decoder=None, sharing=None))  # type: ignore[arg-type]
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="FSDP needs several GPUs, found 2 processes on cpu; use"):
        check_sharded(one, SimpleNamespace(decoder=None, sharing=None))  # type: ignore[arg-type]


def test_a_decoder_is_not_shared_out() -> None:
    one: Any = SimpleNamespace(distributed_type=DistributedType.FSDP)
    check_sharded(one, SimpleNamespace(decoder=None, sharing=None))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="tasks: a task that generates texts has a decoder"):
        check_sharded(one, SimpleNamespace(decoder=torch.nn.Linear(1, 1), sharing=None))  # type: ignore[arg-type]


def test_a_state_that_is_whole_stays_as_it_is() -> None:
    linear = torch.nn.Linear(2, 2)
    optimizer = AdamW(linear.parameters())
    linear(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert_same_bits(gathered(state), state)
    assert_same_bits(spread(state, optimizer), state)
