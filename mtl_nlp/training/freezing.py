"""What of a model does not learn: never, or not yet."""

from torch import nn

from mtl_nlp.errors import RecipeError
from mtl_nlp.model.depths import parameter_depths
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe import BalancingSpec, Recipe
from mtl_nlp.training.balancing import EQUAL
from mtl_nlp.training.patterns import met


def freeze(model: MultiTaskModel, recipe: Recipe) -> None:
    """Take from learning what a recipe freezes: it has no gradient and is no part of the optimizer.

    As with ``requires_grad_(False)`` in transformers' Trainer, what is frozen is trained through in
    training mode, so that dropout stays on in it.

    Args:
        model: Whose parameters it is about.
        recipe: What it freezes.

    Raises:
        RecipeError: If a pattern meets no parameter, or nothing is left that learns, or that is to
            be unfrozen or balanced.
    """
    spec = recipe.training
    parameters = dict(model.named_parameters())
    for pattern in spec.frozen:
        for name in met(pattern, list(parameters), where="training.frozen"):
            parameters[name].requires_grad_(False)
    if not any(p.requires_grad for p in parameters.values()):
        raise RecipeError(
            f"training.frozen: {', '.join(spec.frozen)} meet all parameters of the model, so that"
            " nothing learns; leave some out"
        )
    shared = {id(p) for p in model.encoder.parameters()}
    learning = [id(p) in shared for p in parameters.values() if p.requires_grad]
    if spec.unfreeze is not None:
        _check_unfreezing(of_encoder=any(learning), of_heads=not all(learning))
    if not any(learning):
        _check_balancing(recipe.balancing, model)


def let_learn(model: MultiTaskModel, recipe: Recipe, steps_per_pass: int) -> "Unfreezing | None":
    """Freeze what a recipe freezes, and prepare to unfreeze what it unfreezes step by step.

    Args:
        model: Whose parameters it is about.
        recipe: What it freezes and unfreezes.
        steps_per_pass: Optimizer steps of an epoch.

    Raises:
        RecipeError: As `freeze` does, or if the encoder's layers cannot be told.
    """
    freeze(model, recipe)
    every = recipe.training.unfreeze
    if every is None:
        return None
    return Unfreezing(model, steps_per_pass if every == "epoch" else int(every))


class Unfreezing:
    """Lets heads learn first, then one encoder layer after another from the top, last embeddings.

    Howard & Ruder (2018, arXiv:1801.06146), section 3.3. What learns at a step depends on its
    number alone, so nothing of it need be kept.

    Args:
        model: Of which at first all learns that is not frozen for good.
        every: Optimizer steps from one layer to the next.

    Raises:
        RecipeError: If the encoder's layers cannot be told.
    """

    def __init__(self, model: MultiTaskModel, every: int) -> None:
        try:
            depths = parameter_depths(model.encoder)
        except ValueError as error:
            raise RecipeError(f"training.unfreeze: {error}; leave it out") from None
        self.every, self._joined = every, -1
        self.parts: list[list[nn.Parameter]] = [[] for _ in range(max(depths.values()) + 1)]
        for name, parameter in model.encoder.named_parameters():
            if parameter.requires_grad:
                self.parts[depths[name]].append(parameter)

    def joined(self, step: int) -> int:
        """How many of the encoder's parts learn at a step, counted from 0: the first so many."""
        return min(step // self.every, len(self.parts))

    def begin(self, step: int) -> None:
        """Let learn what learns at a step, counted from 0."""
        if (joined := self.joined(step)) == self._joined:
            return
        self._joined = joined
        for number, part in enumerate(self.parts):
            for parameter in part:
                parameter.requires_grad_(number < joined)

    def notes(self, steps: int) -> list[str]:
        """What a user should know where a training of so many steps is too short for all layers."""
        learned, layers = self.joined(steps - 1), len(self.parts) - 1
        if learned == len(self.parts):
            return []
        return [
            f"training.unfreeze: in {steps} steps, with a layer more every {self.every}, only"
            f" {learned} of the encoder's {layers} layers ever learn, and no embeddings; unfreeze"
            f" every {max((steps - 1) // len(self.parts), 1)} steps to let all learn"
        ]


def _check_unfreezing(*, of_encoder: bool, of_heads: bool) -> None:
    """Refuse to unfreeze step by step where of one of the two nothing learns."""
    if not of_heads:
        raise RecipeError(
            "training.unfreeze: heads learn first, but training.frozen freezes all of them; leave"
            " one of the two out"
        )
    if not of_encoder:
        raise RecipeError(
            "training.unfreeze: training.frozen freezes the whole encoder, so that nothing is left"
            " to be unfrozen; leave one of the two out"
        )


def _check_balancing(spec: BalancingSpec, model: MultiTaskModel) -> None:
    """Refuse a method that is about the encoder's gradient alone, where there is none."""
    if spec.method == EQUAL:
        return
    from mtl_nlp.training.balancing_methods import find_method  # which brings TorchJD along

    if find_method(spec, list(model.tasks)).aggregates:
        raise RecipeError(
            f"balancing.method: {spec.method} makes one gradient of the tasks' for the encoder, all"
            " of which training.frozen freezes; use equal, or let some of it learn"
        )
