"""Depth accuracy on held-out frames, through the very code that serves answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm3.asking.items import DepthItem
from vlm3.asking.predictor import Predictor
from vlm3.asking.tables import OUTSIDE
from vlm3.errors import DataError
from vlm3.evaluation.answering import check_shown
from vlm3.geometry.depth import DepthKind
from vlm3.log import get_logger
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import DEPTH_COLUMNS, ShardedSource
from vlm3.seeds import derive_seed, generator
from vlm3.storage.split import Split
from vlm3.tasks.depth.answering import answer_depth
from vlm3.tasks.depth.metrics import DepthScores, best_constant, depth_scores

log = get_logger(__name__)
NAN = float("nan")
UNKNOWN = DepthScores(0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, (NAN, NAN), (NAN, NAN))
"""Scores where nothing was asked."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameAnswers:
    """Answers about one frame, without its pixels: every rank gets them from every other. N labels were asked about."""

    image_id: str
    scene: str
    points_px: NDArray[np.float64]
    """(N, 2) points in the original image."""
    true_m: NDArray[np.float64]
    """(N,) labels, of the frame's own depth kind."""
    predicted_m: NDArray[np.float64]
    """(N,) answers converted to the frame's depth kind; NaN where unreadable."""
    not_asked: int = 0
    """Labels besides these N: the lens has no ray where they are, or no unified image holds them."""


@dataclass(frozen=True, slots=True)
class SourceScores:
    """Scores of one source beside its baseline."""

    source: str
    model: DepthScores
    constant: DepthScores
    """The best constant answer, chosen on these very labels: the hardest constant to beat."""
    not_asked: int
    """Labels that could not be asked about: neither is scored on them."""


def held_out_frames(source: ShardedSource, images: int) -> Iterator[Frame]:
    """Up to `images` different frames of the held-out split, spread evenly over its clips."""
    clips = source.clips(Split.EVAL)
    seen: set[tuple[str, str]] = set()
    wanted = min(images, source.frames(Split.EVAL))
    # One frame a clip first, more of each clip only when the split has too few clips.
    rounds = 0
    while len(seen) < wanted and rounds < wanted + 1:
        order = np.unique(np.linspace(0, clips - 1, min(clips, wanted - len(seen))).round().astype(int))
        added = 0
        for index in order:
            for frame in source.read_clip(Split.EVAL, int(index), DEPTH_COLUMNS):
                if (frame.scene, frame.frame) not in seen and len(frame.points):
                    seen.add((frame.scene, frame.frame))
                    added += 1
                    yield frame
                    break
        rounds += 1
        if added == 0:
            return


def image_id(frame: Frame) -> str:
    """Names a frame among all sources."""
    return f"{frame.source}/{frame.scene}/{frame.frame}"


def ask_frame(predictor: Predictor, frame: Frame, points: int, seed: int) -> FrameAnswers:
    """Ask about `points` seeded random labels of a frame, as far as they can be asked about.

    Raises:
        ConfigError: the model was not trained on depth.
        DataError: the image cannot be read.
    """
    rng = generator(seed, "evaluate", frame.source, frame.scene, frame.frame)
    chosen = np.sort(rng.permutation(len(frame.points))[:points])
    labels = frame.points[chosen].astype(np.float64)
    item = DepthItem(image_id(frame), frame.scene, frame, labels[:, :2], labels[:, 2])
    try:
        check_shown(item, predictor.ask, predictor.model.bounds)
    except DataError as error:
        log.warning("%s: not asked about: %s", item.id, error)
        nothing = np.empty(0)
        return FrameAnswers(item.id, frame.scene, np.empty((0, 2)), nothing, nothing, len(labels))
    answers = answer_depth(predictor, frame.encoded_image, frame.camera, labels[:, :2])
    asked = np.array([answer.status != OUTSIDE for answer in answers], bool)
    values = [a.ray_depth_m if frame.depth_kind is DepthKind.RAY else a.z_depth_m for a in answers]
    predicted_m = np.array([NAN if value is None else value for value in values], np.float64)
    return FrameAnswers(
        image_id=item.id,
        scene=frame.scene,
        points_px=labels[asked, :2],
        true_m=labels[asked, 2],
        predicted_m=predicted_m[asked],
        not_asked=int((~asked).sum()),
    )


def joined(answers: Sequence[FrameAnswers]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) truths and answers of any number of frames."""
    nothing = np.empty(0)
    return (
        np.concatenate([nothing, *(answer.true_m for answer in answers)]),
        np.concatenate([nothing, *(answer.predicted_m for answer in answers)]),
    )


def score(source: str, answers: Sequence[FrameAnswers], seed: int) -> SourceScores:
    """Scores of all answers of a source, and of the best constant; intervals are over scenes.

    Frames of one room are alike: intervals over frames would be too narrow. `UNKNOWN` where nothing was asked.
    """
    true, predicted = joined(answers)
    not_asked = sum(answer.not_asked for answer in answers)
    if not len(true):
        return SourceScores(source, UNKNOWN, UNKNOWN, not_asked)
    _, scenes = np.unique([answer.scene for answer in answers], return_inverse=True)
    groups = np.repeat(scenes, [len(answer.true_m) for answer in answers])
    key = derive_seed(seed, "bootstrap", source)
    constant = np.full_like(true, best_constant(true))
    model, baseline = (depth_scores(said, true, groups, key) for said in (predicted, constant))
    return SourceScores(source, model, baseline, not_asked)
