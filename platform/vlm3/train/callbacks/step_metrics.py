"""Figures of every step: loss, rates, shares asked and realised, repetition, cost of the data."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlm3.mixture.plan import MixturePlan
from vlm3.mixture.shares import ShareWatch
from vlm3.tracking.runs import TrackedRun
from vlm3.train.loop import LoopState, StepOutcome
from vlm3.train.progress import Progress

SHARE_WINDOW = 512
MIXTURE_PERIOD_S = 5.0
LOSS_STEPS = 10
"""Number of steps over which the loss of a component is averaged: one step may hold few of its samples."""
Publish = Callable[[dict[str, float]], None]
"""Function that publishes the figures of a step elsewhere, beside MLflow."""


@dataclass(slots=True)
class ComponentLosses:
    """Mean loss per answer token of each component, over the first steps and over the last ones."""

    components: int
    start: list[NDArray[np.float64]] = field(default_factory=list)
    end: deque[NDArray[np.float64]] = field(default_factory=lambda: deque(maxlen=LOSS_STEPS))

    def add(self, losses: NDArray[np.float64]) -> None:
        """Add a step: (components, 2) sums of losses and numbers of tokens."""
        if len(self.start) < LOSS_STEPS:
            self.start.append(losses)
        self.end.append(losses)

    def first(self) -> NDArray[np.float64]:
        """(components,) mean loss over the first steps; NaN for a component without tokens in them."""
        return self._means(self.start)

    def last(self) -> NDArray[np.float64]:
        """(components,) mean loss over the last steps; NaN for a component without tokens in them."""
        return self._means(self.end)

    def _means(self, steps: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
        # There are no steps if a resumed run had done them all and is only exported again.
        sums, tokens = sum(steps, np.zeros((self.components, 2))).T
        means: NDArray[np.float64] = np.where(tokens > 0, sums / np.maximum(tokens, 1), np.nan)
        return means


@dataclass(slots=True)
class StepMetrics:
    """On rank 0: sends the figures of every step to MLflow, to the progress file and to `publish`."""

    run: TrackedRun
    run_dir: Path
    total_steps: int
    global_batch: int
    component_names: Sequence[str]
    plan: Callable[[], MixturePlan]
    """Returns the current plan: weights may change while the run goes on."""
    publish: Publish
    watch: ShareWatch = field(default_factory=lambda: ShareWatch(SHARE_WINDOW))
    first_loss: float = float("nan")
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=10))
    component_losses: ComponentLosses = field(init=False)
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    told: MixturePlan | None = None
    """The plan whose changes were logged last."""
    mixture_logged_s: float = float("-inf")

    def __post_init__(self) -> None:
        self.component_losses = ComponentLosses(len(self.component_names))

    def after_step(self, outcome: StepOutcome, state: LoopState) -> None:
        """Log the step."""
        if not self.losses:
            self.first_loss = outcome.stats.loss
        self.losses.append(outcome.stats.loss)
        self.component_losses.add(outcome.stats.component_losses)
        self.rates.append(len(outcome.received) / outcome.seconds)
        plan = self.plan()
        for part in _by_segment(outcome.received, plan):
            self.watch.add(part[:, 1], plan.asked_at(int(part[0, 0])))
        figures = self._figures(outcome, state)
        mixture = self._mixture(outcome, state, plan, int(outcome.received[-1, 0]))
        # MLflow has the step of every figure; Prometheus does not.
        progress = {"train/step": float(outcome.step), "train/total_steps": float(self.total_steps)}
        self.publish(progress | figures | mixture)
        self.run.metrics(figures | (mixture if self._mixture_is_due(outcome.step) else {}), outcome.step)
        self._tell_changes(plan)
        samples_per_s, wait_share = figures["data/samples_per_s"], figures["data/wait_share"]
        Progress(outcome.step, self.total_steps, outcome.stats.loss, samples_per_s, wait_share).write(self.run_dir)

    def summary(self, state: LoopState) -> dict[str, float]:
        """Figures of the whole run; also logs the chart of the mixture."""
        from vlm3.pictures.drawing import mixture_chart

        plan = self.plan()
        total = max(int(state.seen.sum()), 1)
        asked, realised = plan.numbers(total) / total, state.seen / total
        self.run.figure("mixture.png", mixture_chart(list(self.component_names), asked, realised))
        result = {"samples_replaced": float(state.replaced.sum())}
        if self.losses:
            # A resumed run that had done all its steps, and is only evaluated and exported, has no losses.
            result |= {
                "loss_first": self.first_loss,
                "loss_last": float(np.mean(self.losses)),
                "samples_per_s": float(np.median(self.rates)),
                "mixture_worst_window_error": self.watch.worst,
            }
        first, last = self.component_losses.first(), self.component_losses.last()
        for i, name in enumerate(self.component_names):
            result |= {f"asked/{name}": float(asked[i]), f"realised/{name}": float(realised[i])}
            losses = {f"loss_first/{name}": float(first[i]), f"loss_last/{name}": float(last[i])}
            result |= {key: loss for key, loss in losses.items() if np.isfinite(loss)}
        return result

    def _mixture_is_due(self, step: int) -> bool:
        """Whether to log the mixture now: every few seconds, since MLflow takes long over dozens of components."""
        now_s = time.monotonic()
        due = now_s - self.mixture_logged_s >= MIXTURE_PERIOD_S or step == self.total_steps
        if due:
            self.mixture_logged_s = now_s
        return due

    def _figures(self, outcome: StepOutcome, state: LoopState) -> dict[str, float]:
        stats, cost, seconds = outcome.stats, outcome.cost, outcome.seconds
        return {
            "train/loss": stats.loss,
            "train/grad_norm": stats.grad_norm,
            "train/learning_rate": stats.learning_rate,
            "train/answer_tokens": float(stats.answer_tokens),
            "data/samples_per_s": len(outcome.received) / seconds,
            "data/bytes_per_s": cost.bytes_read / seconds,
            "data/requests_per_s": cost.requests / seconds,
            "data/retries": float(cost.retries),
            "data/read_ms_per_sample": 1e3 * cost.read_s / len(outcome.received),
            "data/decode_ms_per_sample": 1e3 * cost.decode_s / len(outcome.received),
            "data/wait_share": outcome.data_wait_s / seconds,
            "data/replaced_total": float(state.replaced.sum()),
            "data/open_intervals": float(len(state.ledger.intervals)),
        }

    def _mixture(self, outcome: StepOutcome, state: LoopState, plan: MixturePlan, reached: int) -> dict[str, float]:
        """Per component: shares asked and realised, epochs, samples per second, replaced samples, loss."""
        counts = np.bincount(outcome.received[:, 1], minlength=len(self.component_names))
        asked, epochs, losses = plan.asked_at(reached), plan.epochs(reached + 1), self.component_losses.last()
        figures: dict[str, float] = {}
        for i, name in enumerate(self.component_names):
            figures |= {
                f"mixture/{name}/asked": float(asked[i]),
                f"mixture/{name}/realised": float(counts[i] / counts.sum()),
                f"mixture/{name}/epochs": float(epochs[i]),
                f"mixture/{name}/samples_per_s": float(counts[i] / outcome.seconds),
                f"mixture/{name}/replaced_total": float(state.replaced[i]),
            }
            if np.isfinite(losses[i]):
                figures[f"mixture/{name}/loss"] = float(losses[i])
        return figures

    def _tell_changes(self, plan: MixturePlan) -> None:
        """Log each change of the weights as an artifact of the run: from which position, why, and the shares."""
        if plan is self.told:
            return
        self.told = plan
        self.run.text("mixture/plan.json", plan.to_json())
        lines = ["from_position\tfrom_step\treason\t" + "\t".join(self.component_names)]
        for segment in plan.segments:
            shares = "\t".join(f"{count / plan.period:.6f}" for count in segment.counts)
            step = segment.from_position // self.global_batch + 1
            lines.append(f"{segment.from_position}\t{step}\t{segment.reason}\t{shares}")
        self.run.text("mixture/changes.tsv", "\n".join(lines) + "\n")


def _by_segment(received: NDArray[np.int64], plan: MixturePlan) -> list[NDArray[np.int64]]:
    """Rows of `received`, sorted by position, split at every change of the weights."""
    borders = [segment.from_position for segment in plan.segments]
    return [part for part in np.split(received, np.searchsorted(received[:, 0], borders)) if len(part)]
