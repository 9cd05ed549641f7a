"""The learning rate over the steps."""

import math

from .recipe import Recipe


def schedule(done: float, warmup: float) -> float:
    """The learning rate's share of its peak after a share `done` of the steps: a linear rise, then a cosine."""
    if done < warmup:
        return (done + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def rate_share(recipe: Recipe, step: int, total: int, per_epoch: int) -> float:
    """The learning rate's share of its peak at a step."""
    done = step / total if recipe.schedule_by == "step" else step // per_epoch * per_epoch / total
    if recipe.schedule == "cosine" or done < recipe.warmup:
        return schedule(done, recipe.warmup)
    if recipe.schedule == "constant":
        return 1.0
    return recipe.decay_factor ** sum(done >= share for share in recipe.milestones)
