"""An encoder's learned positions are the most that a row may have."""

import pytest
import torch
from transformers import AutoModel

from mtl_nlp.errors import RecipeError
from mtl_nlp.model.limits import check_length, padding_problem
from tests.tiny import LIFTABLE, NOT_LIFTABLE, PADDING_COUNTS, tiny_config

LONGEST = {"bert": 514, "roberta": 513, "xlm-roberta": 513, "distilbert": 512, "electra": 514}
LONGEST |= {"albert": 514, "mpnet": 512}


@pytest.mark.parametrize("architecture", LONGEST)
def test_the_longest_row_is_read_and_one_more_is_not(architecture: str) -> None:
    encoder = AutoModel.from_config(tiny_config(architecture)).eval()
    longest = LONGEST[architecture]
    check_length(encoder, longest)
    with pytest.raises(RecipeError, match=f"max_length: {longest + 1} .* use at most {longest}"):
        check_length(encoder, longest + 1)
    with torch.inference_mode():
        assert encoder(torch.full((1, longest), 7)).last_hidden_state.shape[1] == longest
        with pytest.raises(
            (IndexError, RuntimeError), match=r"out of range|out of bounds|must match|expanded"
        ):
            encoder(torch.full((1, longest + 1), 7))


@pytest.mark.parametrize("architecture", [*LIFTABLE, *NOT_LIFTABLE, *PADDING_COUNTS])
def test_padding_is_a_problem_where_it_changes_what_is_computed(architecture: str) -> None:
    torch.manual_seed(0)
    encoder = AutoModel.from_config(tiny_config(architecture))
    encoder = encoder.get_encoder() if encoder.config.is_encoder_decoder else encoder
    problem = padding_problem(encoder)
    assert (problem is not None) == (architecture in PADDING_COUNTS), problem
    assert encoder.training


@pytest.mark.parametrize("architecture", ["deberta-v2", "modernbert", "t5"])
def test_relative_positions_have_no_end(architecture: str) -> None:
    check_length(AutoModel.from_config(tiny_config(architecture)), 100_000)
