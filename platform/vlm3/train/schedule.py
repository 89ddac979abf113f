"""Learning rate as a function of the step: linear warm-up, then a cosine."""

import math


def learning_rate(
    step: int, total_steps: int, peak: float, warmup_share: float = 0.1, floor_share: float = 0.0
) -> float:
    """Learning rate of one step.

    The warm-up rises linearly and its last step has rate `peak`. The cosine would reach the floor one step after the
    last step. So neither the first nor the last step has rate zero.

    Args:
        step: index of the step, 0 ≤ step < total_steps.
        total_steps: length of the run.
        peak: highest rate.
        warmup_share: share of all steps in the warm-up; at least one step.
        floor_share: the floor as a share of `peak`.

    Raises:
        ValueError: `step` lies outside the run.
    """
    if not 0 <= step < total_steps:
        raise ValueError(f"step {step} lies outside a run of {total_steps} steps")
    warmup = max(1, math.ceil(warmup_share * total_steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step + 1 - warmup) / (total_steps + 1 - warmup)
    return peak * (floor_share + (1 - floor_share) * 0.5 * (1 + math.cos(math.pi * progress)))
