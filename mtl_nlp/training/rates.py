"""The learning rate of each parameter: of its part of the model and of its layer."""

from torch import nn
from transformers import PreTrainedModel

from mtl_nlp.errors import RecipeError
from mtl_nlp.model.depths import parameter_depths
from mtl_nlp.recipe_training import TrainingSpec
from mtl_nlp.training.patterns import met, most_specific


def parameter_rates(model: nn.Module, spec: TrainingSpec) -> dict[str, float]:
    """The peak learning rate of each parameter that learns, by name.

    It is what the most specific pattern of ``learning_rates`` gives it, else ``learning_rate``; in
    an encoder times ``layer_decay`` to the power of the layers above it (Howard & Ruder, 2018,
    arXiv:1801.06146, section 3.2; in this form Clark et al., 2020, arXiv:2003.10555).

    Args:
        model: With what is frozen frozen; with an ``encoder`` where there is a layer decay.
        spec: The recipe's training.

    Raises:
        RecipeError: If a pattern meets no parameter or only frozen ones, two disagree, or the
            encoder's layers cannot be told.
    """
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    names = [name for name, _ in model.named_parameters()]
    for pattern in spec.learning_rates:
        if learning.isdisjoint(met(pattern, names, where="training.learning_rates")):
            raise RecipeError(
                f"training.learning_rates: all that {pattern!r} meets is frozen, so it has no rate;"
                " leave it out, or let some of it learn (see training.frozen and sharing.method)"
            )
    given = most_specific(spec.learning_rates, names, where="training.learning_rates")
    rates = {name: given.get(name, spec.learning_rate) for name in names if name in learning}
    if spec.layer_decay != 1:
        encoder = model.get_submodule("encoder")
        assert isinstance(encoder, PreTrainedModel)
        try:
            depths = parameter_depths(encoder)
        except ValueError as error:
            raise RecipeError(f"training.layer_decay: {error}; leave it out") from None
        for name, depth in depths.items():
            if (full := f"encoder.{name}") in rates:
                rates[full] *= spec.layer_decay**depth
    return rates
