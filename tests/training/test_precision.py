import pytest
import torch

from mtl_nlp.errors import RecipeError
from mtl_nlp.training.precision import choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(("wanted", "chosen"), [("fp32", "no"), ("bf16", "bf16")])
def test_what_is_wanted_is_chosen(wanted: str, chosen: str) -> None:
    assert choose_precision(wanted, CPU) == chosen


def test_auto_is_bfloat16_only_where_the_processor_computes_in_it() -> None:
    capabilities = torch.cpu.get_capabilities()
    able = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    assert choose_precision("auto", CPU) == ("bf16" if able else "no")


def test_auto_is_float32_on_devices_that_are_not_known() -> None:
    assert choose_precision("auto", torch.device("mps")) == "no"


def test_float16_needs_more_than_a_cpu() -> None:
    with pytest.raises(RecipeError, match=r"training\.precision: fp16 needs a GPU, found only a"):
        choose_precision("fp16", CPU)
    assert choose_precision("fp16", torch.device("cuda")) == "fp16"
