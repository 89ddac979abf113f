"""Draws docs/pictures/tasks.png: a rendered room, and what each task asks about it. `python docs/pictures/tasks.py`."""

from pathlib import Path

import numpy as np

from vlm3.geometry.depth import DepthKind
from vlm3.pictures.drawing import sample_gallery
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader
from vlm3.tasks.correspondence.task import CorrespondenceTask, CorrespondenceTaskConfig
from vlm3.tasks.depth.task import DepthTask, DepthTaskConfig
from vlm3.tasks.objects.task import ObjectsTask, ObjectsTaskConfig
from vlm3.tasks.pose.task import PoseTask, PoseTaskConfig
from vlm3.views.pair_sample import pair_sample
from vlm3.views.pairs import clip_pairs
from vlm3.views.sample import view_sample
from vlm3.views.unify import UnifyPolicy, unify

TARGET = Path(__file__).with_name("tasks.png")
POLICY = UnifyPolicy(focal_px=320, token_px=32, min_pixels=32 * 32, max_pixels=1 << 20)


def main() -> None:
    """Render, ask, draw."""
    reader = RoomsReader(RoomsConfig(scenes=6, frames_per_scene=6, width_px=640, height_px=480, seed=4))
    frames = list(reader.frames(reader.scenes()[3]))
    pair = max(clip_pairs(frames), key=lambda found: found.overlap * found.baseline_m)
    first, second = frames[pair.first], frames[pair.second]
    unified = [unify(frame.encoded_image, frame.camera, POLICY) for frame in (first, second)]
    view = view_sample(first, unified[0], DepthKind.RAY, None)
    both = pair_sample(first, second, *unified, overlap=pair.overlap, target=DepthKind.Z, position=None)
    asked = (
        (view, DepthTask(DepthTaskConfig())),
        (both, CorrespondenceTask(CorrespondenceTaskConfig(hidden_points="ask"))),
        (both, PoseTask(PoseTaskConfig())),
        (view, ObjectsTask(ObjectsTaskConfig())),
    )
    samples = [sample for sample, _ in asked]
    conversations = [task.ask(sample, np.random.default_rng(1)) for sample, task in asked]
    sample_gallery(samples, conversations).savefig(TARGET, dpi=90)


if __name__ == "__main__":
    main()
