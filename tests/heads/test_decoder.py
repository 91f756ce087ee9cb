from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from mtl_nlp.heads.decoder import Decoder, Writing, has_decoder, take_decoder
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.stock import probe
from tests.tiny import tiny_config, tiny_seq2seq


def stock_of(folder: Path, architecture: str) -> PreTrainedModel:
    path = tiny_seq2seq(folder / architecture, architecture)
    stock: PreTrainedModel = AutoModelForSeq2SeqLM.from_pretrained(path)
    return stock.eval()


@pytest.mark.parametrize("architecture", ["t5", "bart", "mbart", "m2m_100"])
def test_put_back_its_encoder_makes_the_same_model(architecture: str, tmp_path: Path) -> None:
    whole, stock = (stock_of(tmp_path, architecture) for _ in range(2))
    encoder = stock.get_encoder()
    again = take_decoder(stock).with_encoder(encoder)
    assert again.state_dict().keys() == whole.state_dict().keys()
    batch = {**probe(encoder), "labels": probe(encoder)["input_ids"]}
    assert torch.equal(again(**batch).logits, whole(**batch).logits)


def test_what_stands_behind_a_target_changes_no_logit(tmp_path: Path) -> None:
    stock = stock_of(tmp_path, "bart")
    encoder = stock.get_encoder()
    decoder, batch = take_decoder(stock), probe(encoder)
    states = EncoderStates(encoder(**batch).last_hidden_state, batch["attention_mask"])
    labels = torch.tensor([[7, 8, 3, -100, -100], [9, 3, -100, -100, -100]])
    wide, narrow = decoder(states, labels), decoder(states, labels[:, :3])
    torch.testing.assert_close(wide[:, :3], narrow, atol=1e-5, rtol=0)


def test_a_text_ends_with_its_end(tmp_path: Path) -> None:
    stock = stock_of(tmp_path, "t5")
    encoder = stock.get_encoder()
    decoder, batch = take_decoder(stock), probe(encoder)
    states = EncoderStates(encoder(**batch).last_hidden_state, batch["attention_mask"])
    written = decoder.generate(states, Writing(6))
    decoder.settings["eos_token_id"] = int(written[0, 0])  # so that row 0 ends at once
    ended = decoder.generate(states, Writing(6))[0]
    assert ended[0] == written[0, 0]
    assert (ended[1:] == -100).all()


def test_lengths_beams_and_sampling_are_the_tasks(tmp_path: Path) -> None:
    stock = stock_of(tmp_path, "bart")
    given = stock.generation_config
    given.do_sample, given.temperature, given.min_length, given.max_length = True, 0.5, 5, 7
    given.num_beams, given.early_stopping, given.no_repeat_ngram_size = 4, True, 2
    decoder = Decoder(stock)
    greedy, beams = (decoder.generation_config(Writing(9, n, first_token=8)) for n in (1, 3))
    assert (greedy.num_beams, greedy.early_stopping) == (1, None)
    assert (beams.num_beams, beams.early_stopping) == (3, True)
    for one in (greedy, beams):
        assert (one.max_new_tokens, one.max_length, one.min_length) == (9, None, None)
        assert (one.do_sample, one.temperature) == (False, None)
        assert (one.no_repeat_ngram_size, one.forced_bos_token_id) == (2, 8)


@pytest.mark.parametrize(("architecture", "there"), [("t5", True), ("bart", True), ("bert", False)])
def test_whether_there_is_a_decoder(architecture: str, there: bool) -> None:
    assert has_decoder(tiny_config(architecture)) is there
