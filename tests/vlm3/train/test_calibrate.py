"""Held-out frames decide how wide a model's intervals are, whichever rank asks about them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from tests.export_fixtures import ASK
from tests.frames import make_frame
from tests.oracles import Oracle
from vlm3.asking.calibration import LEAST_ANSWERS, Calibration
from vlm3.asking.number_form import Spread
from vlm3.asking.predictor import Predictor
from vlm3.asking.spec import AskSpec
from vlm3.asking.text_model import ImageBounds, Reply, TextRequest
from vlm3.scenes.schema import Frame
from vlm3.train import calibrate as subject
from vlm3.train.calibrate import POINTS, calibrate

BOUNDS = ImageBounds(16, 1024, 1 << 18)
STEP = 0.1


class Wavering:
    """Says a depth of the made frames, 3 m, wrong by a factor of e^±0.3 as a rule, and is as sure as it is told to."""

    bounds = BOUNDS

    def __init__(self, sigma: float) -> None:
        self._sigma, self._rng = sigma, np.random.default_rng(0)

    def answer(self, request: TextRequest) -> list[Reply]:
        assert request.form is not None
        return [self._reply() for _ in request.questions]

    def _reply(self) -> Reply:
        said_m = 3 * np.exp(0.3 * self._rng.standard_normal())
        values = np.arange(STEP, 30, STEP)
        weights = np.exp(-0.5 * (np.log(values / said_m) / self._sigma) ** 2) / values
        return Reply(f"{said_m:.1f}", spread=Spread(values, 0.9 * weights / weights.sum(), 1.0, STEP))


def calibrated(predictor: Predictor, frames: list[Frame], seed: int = 0) -> Calibration | None:
    @contextmanager
    def given() -> Iterator[Predictor]:
        yield predictor

    return calibrate(given, {"made": frames[::2], "others": frames[1::2]}, seed)


FRAMES = [make_frame("room", number) for number in range(20)]


def test_a_model_that_is_too_sure_gets_wider_intervals_and_one_that_is_not_sure_enough_narrower_ones() -> None:
    found = {sigma: calibrated(Predictor(Wavering(sigma), ASK), FRAMES) for sigma in (0.1, 0.3, 0.9)}
    sure, right, unsure = (calibration.margins_log_m[4] for calibration in found.values() if calibration is not None)
    assert sure > 0.2 and abs(right) < 0.15 and unsure < -0.5
    calibration = found[0.3]
    assert calibration is not None and (calibration.answers, calibration.images) == (20 * POINTS, 20)


def test_a_model_that_does_not_tell_has_no_intervals() -> None:
    silent = Oracle(lambda request, question: "3.0", BOUNDS)
    assert calibrated(Predictor(silent, ASK), FRAMES) is None
    assert calibrated(Predictor(Wavering(0.3), AskSpec()), FRAMES) is None, "it was not trained on depth"
    assert LEAST_ANSWERS > POINTS
    assert calibrated(Predictor(Wavering(0.3), ASK), FRAMES[:1]) is None, "too few labels"


def test_a_frame_that_cannot_be_unified_is_left_out() -> None:
    frames = [*FRAMES, make_frame("broken", 0)]
    object.__setattr__(frames[-1], "encoded_image", b"not an image")
    found = calibrated(Predictor(Wavering(0.3), ASK), frames)
    assert found is not None and found.images == 20


def test_ranks_share_what_they_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange itself is torch's; here the other rank's part is given."""
    alone = calibrated(Predictor(Wavering(0.3), ASK), FRAMES)
    other = [np.full((POINTS, 6), 5.0)] * 20
    monkeypatch.setattr(subject, "_gather", lambda mine: [*mine, *other])
    together = calibrated(Predictor(Wavering(0.3), ASK), FRAMES)
    assert alone is not None and together is not None
    assert together.answers == 2 * alone.answers and together.margins_log_m[-1] == 5.0
