"""The lifted head of masked language modelling: the encoder's embeddings are no weights of it."""

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModel, PreTrainedModel

from mtl_nlp.heads.masked_language import MaskedLanguageHead, VocabularyHead, at_words
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.stock import lifting_problem, probe, probed
from tests.tiny import LIFTABLE, VOCABULARY, tiny_config


def _encoder(architecture: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModel.from_config(tiny_config(architecture)).eval()


def _head(architecture: str, seed: int = 1) -> MaskedLanguageHead:
    torch.manual_seed(seed)
    head = MaskedLanguageHead(tiny_config(architecture)).eval()
    _disturb(head)
    return head


@torch.no_grad()
def _disturb(head: nn.Module) -> None:
    for parameter in head.parameters():
        parameter += 0.3 * torch.randn_like(parameter)


@pytest.mark.parametrize("architecture", LIFTABLE)
def test_it_computes_what_the_stock_model_does(architecture: str) -> None:
    encoder, head = _encoder(architecture), _head(architecture)
    assert lifting_problem(head, encoder) is None
    stock, batch = head.with_encoder(encoder), probe(encoder)
    assert torch.equal(head(probed(encoder, batch)), stock(**batch).logits)
    assert stock.get_output_embeddings().weight is stock.get_input_embeddings().weight


@pytest.mark.parametrize("architecture", LIFTABLE)
def test_it_holds_every_weight_once_and_no_embeddings(architecture: str) -> None:
    encoder, head = _encoder(architecture), _head(architecture)
    stock = head.with_encoder(encoder)
    ours = {parameter.numel() for parameter in head.parameters()}
    assert encoder.get_input_embeddings().weight.numel() not in ours
    own = sum(parameter.numel() for parameter in head.parameters())
    base = sum(parameter.numel() for parameter in stock.base_model.parameters())
    assert own + base == sum(parameter.numel() for parameter in stock.parameters())
    assert list(head.state_dict()) == [name for name, _ in head.named_parameters()]


@pytest.mark.parametrize("architecture", ["distilbert", "electra", "modernbert"])
def test_a_fresh_one_is_started_as_stock_ones_are(architecture: str) -> None:
    fresh = MaskedLanguageHead(tiny_config(architecture))
    for name, parameter in fresh.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        assert parameter.isfinite().all(), name


def test_it_is_taken_from_a_whole_model_and_put_back() -> None:
    encoder, head, other = _encoder("roberta"), _head("roberta"), _head("roberta", seed=2)
    other.adopt(head.with_encoder(encoder))
    states = probed(encoder, probe(encoder))
    assert torch.equal(other(states), head(states))


def test_gradients_are_those_of_the_stock_model() -> None:
    encoder, head = _encoder("bert"), _head("bert")
    stock, batch = head.with_encoder(encoder), probe(encoder)
    head(probed(encoder, batch)).logsumexp(-1).sum().backward()
    stock(**batch).logits.logsumexp(-1).sum().backward()
    theirs = {name: p.grad for name, p in stock.named_parameters()}
    ours = {f"bert.{name}": p.grad for name, p in encoder.named_parameters()}
    ours |= {name: p.grad for name, p in head.stock.named_parameters()}
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-6)


def test_weights_that_are_not_tied_are_the_heads_own() -> None:
    config = tiny_config("bert")
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    encoder = AutoModel.from_config(config).eval()
    head = MaskedLanguageHead(config).eval()
    assert "stock.cls.predictions.decoder.weight" in head.state_dict()
    assert lifting_problem(head, encoder) is None
    batch = probe(encoder)
    assert torch.equal(head.with_encoder(encoder)(**batch).logits, head(probed(encoder, batch)))


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("longformer", "LongformerForMaskedLM does not run on hidden states"),
        ("bart", "BartForConditionalGeneration keeps other weights beside its head"),
    ],
)
def test_a_head_that_does_not_fit_is_told_why(architecture: str, reason: str) -> None:
    encoder = _encoder(architecture)
    if encoder.config.is_encoder_decoder:
        encoder = encoder.get_encoder()
    problem = lifting_problem(MaskedLanguageHead(tiny_config(architecture)), encoder)
    assert problem is not None
    assert problem.startswith(reason)


class _Mixing(nn.Module):
    """A head part that looks at the neighbours."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + hidden.roll(1, dims=1)


def test_a_head_that_looks_at_its_neighbours_is_noticed() -> None:
    encoder, head = _encoder("distilbert"), _head("distilbert")
    head.stock.vocab_transform = nn.Sequential(_Mixing(), head.stock.vocab_transform)
    problem = lifting_problem(head, encoder)
    assert problem == "DistilBertForMaskedLM computes other logits than its head alone"


def test_without_embeddings_it_is_told_so() -> None:
    states = EncoderStates(torch.ones(1, 2, 32), torch.ones(1, 2))
    with pytest.raises(ValueError, match="tied to the encoder's embeddings needs them"):
        _head("bert")(states)


WORDS = st.lists(st.lists(st.integers(-2, 3), min_size=4, max_size=4), min_size=1, max_size=4)


@given(words=WORDS, wider=st.integers(0, 2))
def test_the_asked_sub_words_come_first_and_in_order(words: list[list[int]], wider: int) -> None:
    hidden = torch.arange(4.0).expand(len(words), 4).unsqueeze(-1)
    states = EncoderStates(hidden, torch.ones(len(words), 4), torch.tensor(words))
    asked = [[place for place, word in enumerate(row) if word >= 0] for row in words]
    most = max(map(len, asked))
    found = at_words(states)
    assert found.shape == (len(words), most, 1)
    wide = at_words(states, min(most + wider, 4))
    for row, places in enumerate(asked):
        assert found[row, : len(places), 0].tolist() == places
        assert wide[row, : len(places), 0].tolist() == places


def test_without_words_all_sub_words_are_asked_for() -> None:
    hidden = torch.randn(2, 3, 4)
    assert at_words(EncoderStates(hidden, torch.ones(2, 3))) is hidden


def test_where_nothing_is_asked_there_are_no_logits() -> None:
    words = torch.full((2, 3), -1)
    states = EncoderStates(torch.randn(2, 3, 32), torch.ones(2, 3), words, torch.randn(7, 32))
    config = tiny_config("bert")
    config.vocab_size = 7
    assert MaskedLanguageHead(config)(states).shape == (2, 0, 7)
    assert VocabularyHead(32, 7)(states).shape == (2, 0, 7)


def test_a_head_with_weights_of_its_own_scores_the_whole_vocabulary() -> None:
    head = VocabularyHead(32, len(VOCABULARY))
    words = torch.tensor([[-1, 0, 0, -1], [-1, -1, 2, -1]])
    states = EncoderStates(torch.randn(2, 4, 32), torch.ones(2, 4), words)
    logits = head(states)
    assert logits.shape == (2, 2, len(VOCABULARY))
    alone = head(states.select(torch.tensor([1])))
    torch.testing.assert_close(logits[1, :1], alone[0])


def test_it_is_built_on_the_meta_device() -> None:
    with torch.device("meta"):
        head = MaskedLanguageHead(tiny_config("bert"))
    assert all(parameter.is_meta for parameter in head.parameters())
    assert transformers.BertForMaskedLM is type(head.stock)
