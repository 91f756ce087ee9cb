"""Heads lifted off their stock models compute what the stock models do."""

import pytest
import torch
from transformers import AutoModel, PreTrainedModel

from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.stock import StockHead, lifting_problem, probe, stock_class, stock_logits
from tests.tiny import LIFTABLE, tiny_config

SEQUENCE, TOKEN = "AutoModelForSequenceClassification", "AutoModelForTokenClassification"
ANSWER = "AutoModelForQuestionAnswering"


def _encoder(architecture: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModel.from_config(tiny_config(architecture)).eval()


def _head(architecture: str, auto_class: str) -> StockHead:
    labels = ("start", "end") if auto_class == ANSWER else ("a", "b", "c")
    return StockHead(auto_class, tiny_config(architecture), labels).eval()


@pytest.mark.parametrize("auto_class", [SEQUENCE, TOKEN, ANSWER])
@pytest.mark.parametrize("architecture", LIFTABLE)
def test_a_lifted_head_is_seen_to_fit(architecture: str, auto_class: str) -> None:
    encoder, head = _encoder(architecture), _head(architecture, auto_class)
    head.adopt_pooler(encoder)
    assert lifting_problem(head, encoder) is None


@pytest.mark.parametrize(
    ("architecture", "auto_class", "reason"),
    [
        ("xlnet", SEQUENCE, "XLNetForSequenceClassification does not run on hidden states"),
        ("longformer", TOKEN, "LongformerForTokenClassification does not run on hidden states"),
        ("longformer", ANSWER, "LongformerForQuestionAnswering does not run on hidden states"),
        ("t5", SEQUENCE, "T5ForSequenceClassification keeps other weights beside its head"),
    ],
)
def test_a_head_that_does_not_fit_is_told_why(
    architecture: str, auto_class: str, reason: str
) -> None:
    encoder = _encoder(architecture)
    if encoder.config.is_encoder_decoder:
        encoder = encoder.get_encoder()
    problem = lifting_problem(_head(architecture, auto_class), encoder)
    assert problem is not None
    assert problem.startswith(reason)


def test_the_configuration_says_what_the_logits_are() -> None:
    config = tiny_config("bert")
    config.problem_type = "regression"  # left there by another task
    assert StockHead(SEQUENCE, config, ("a", "b")).stock.config.problem_type is None
    kind = "multi_label_classification"
    head = StockHead(SEQUENCE, config, ("a", "b"), problem_type=kind)
    assert head.with_encoder(_encoder("bert")).config.problem_type == kind


def test_other_logits_are_noticed() -> None:
    encoder, head = _encoder("bert"), _head("bert", SEQUENCE)  # the pooler is not the encoder's
    problem = lifting_problem(head, encoder)
    assert problem == "BertForSequenceClassification computes other logits than its head alone"


def test_the_check_leaves_modes_and_modules_as_they_were() -> None:
    encoder, head = _encoder("bert"), _head("bert", SEQUENCE)
    encoder.train(), head.train()
    through = head.stock.bert
    lifting_problem(head, encoder)
    assert encoder.training
    assert head.training
    assert head.stock.bert is through
    assert not any("encoder" in key for key in head.state_dict())


def test_an_architecture_without_such_a_class_has_no_head() -> None:
    assert stock_class(TOKEN, tiny_config("bart")) is None
    with pytest.raises(ValueError, match=f"transformers has no {TOKEN} for bart encoders"):
        _head("bart", TOKEN)


def test_the_class_behind_an_auto_class() -> None:
    assert stock_class(TOKEN, tiny_config("mpnet")) == "MPNetForTokenClassification"


def test_the_head_holds_no_encoder_and_the_given_configuration_stays() -> None:
    config = tiny_config("bert")
    head = StockHead(TOKEN, config, ("a", "b", "c"))
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {
        "stock.classifier.weight": (3, 32),
        "stock.classifier.bias": (3,),
    }
    assert not any(p.is_meta for p in head.parameters())
    assert config.num_labels == 2
    assert head.stock.config.id2label == {0: "a", 1: "b", 2: "c"}


@pytest.mark.parametrize("architecture", ["bert", "albert"])
def test_the_pooler_starts_from_the_encoders(architecture: str) -> None:
    encoder, head = _encoder(architecture), _head(architecture, SEQUENCE)
    head.adopt_pooler(encoder)
    own = head.stock.get_submodule(head.prefix).pooler
    pairs = list(zip(own.parameters(), encoder.pooler.parameters(), strict=True))
    assert pairs
    for ours, theirs in pairs:
        assert torch.equal(ours, theirs)
        assert ours.data_ptr() != theirs.data_ptr()


@pytest.mark.parametrize("auto_class", [SEQUENCE, TOKEN, ANSWER])
def test_taken_from_and_put_back_into_a_stock_model(auto_class: str) -> None:
    encoder, head, other = (
        _encoder("roberta"),
        _head("roberta", auto_class),
        _head("roberta", auto_class),
    )
    stock = head.with_encoder(encoder)
    other.adopt(stock)
    batch = probe(encoder)
    states = EncoderStates(encoder(**batch).last_hidden_state, batch["attention_mask"])
    assert torch.equal(stock_logits(stock(**batch)), head(states))
    assert torch.equal(other(states), head(states))


def test_the_stock_model_keeps_the_encoders_precision_and_attention() -> None:
    encoder = AutoModel.from_config(tiny_config(), attn_implementation="eager").to(torch.bfloat16)
    stock = _head("bert", TOKEN).to(torch.bfloat16).with_encoder(encoder)
    assert stock.dtype == torch.bfloat16
    assert stock.config._attn_implementation == "eager"


def test_the_two_ends_of_a_span_stand_side_by_side() -> None:
    stock = _head("bert", ANSWER).with_encoder(_encoder("bert"))
    output = stock(**probe(stock.bert))
    logits = stock_logits(output)
    assert logits.shape == (2, 8, 2)
    assert torch.equal(logits[..., 0], output.start_logits)
    assert torch.equal(logits[..., 1], output.end_logits)
    with pytest.raises(KeyError, match="start_logits"):
        stock_logits(stock.bert(**probe(stock.bert)))
