"""On every real pack an oracle scores as it must, and oracles that get a convention wrong do not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import oracles
from tests.oracles import FOCAL_PX, RANGE, Oracle, Reply
from vlm3.asking.predictor import Predictor
from vlm3.asking.spec import AskSpec
from vlm3.asking.tables import AnswerTable, concatenate
from vlm3.asking.text_model import TextRequest
from vlm3.benchmarks.opening import open_benchmark
from vlm3.evaluation.answering import TextAnswerer
from vlm3.evaluation.report import MODEL
from vlm3.evaluation.scoring import score
from vlm3.tasks import SCORED
from vlm3.tasks.correspondence.task import AskedCorrespondence, CorrespondenceTaskConfig
from vlm3.tasks.depth.task import AskedDepth, DepthTaskConfig
from vlm3.tasks.objects.task import AskedObjects
from vlm3.tasks.pose.task import AskedPose

ASK = AskSpec(
    (
        AskedDepth(focal_px=FOCAL_PX, ask=DepthTaskConfig(reference_range=RANGE)),
        AskedCorrespondence(focal_px=FOCAL_PX, ask=CorrespondenceTaskConfig(reference_range=RANGE)),
        AskedPose(focal_px=FOCAL_PX),
        AskedObjects(focal_px=FOCAL_PX),
    )
)
Pack = Callable[[Path], Reply]
MOST_ROWS = 24
"""Of each kind of a pack, spread: decoding and unifying hundreds of images tells nothing new."""


def figures(folder: Path, reply: Reply) -> dict[str, dict[str, float]]:
    """task → figures of a pack answered so."""
    benchmark = open_benchmark(str(folder), folder.name)
    answerer = TextAnswerer(Predictor(Oracle(reply), ASK))
    tables: dict[str, list[AnswerTable]] = {}
    for row in spread(benchmark.rows()):
        for item in benchmark.read(row):
            for table in answerer.answer(item):
                tables.setdefault(table.task, []).append(table)
    return {
        task: {s.metric: s.value for s in score(folder.name, concatenate(tables[task]), 0) if s.by == MODEL}
        for task in SCORED
        if task in tables
    }


def spread(rows: tuple[str, ...]) -> list[str]:
    pairs = [row for row in rows if "-" in row]
    others = [row for row in rows if "-" not in row]
    return [row for kind in (others, pairs) for row in kind[:: max(1, -(-len(kind) // MOST_ROWS))]]


@pytest.mark.parametrize(
    ("pack", "oracle", "exact_to_px"),
    [
        ("depth_ibims1", oracles.depth_lines, 0),
        # A name is at most half of 1248 / 2000 unified pixels off in each axis, and a unified pixel is fx / 1000.
        ("rgbd_7scenes", oracles.rgbd, 0.25),
        ("rgbd_hololens", oracles.rgbd, 0.25),
        ("pairs_strecha", oracles.listed_pairs, 0.6),
        ("poses_fox", oracles.posed_images, 0),
        ("depth_nyu_kitti", oracles.rgbd, 0),
        ("boxes_kitti", oracles.objects, 0),
        ("boxes_dgp", oracles.objects, 0),
        ("boxes_sunrgbd", oracles.objects, 0),
    ],
)
def test_the_truth_in_the_printed_precision_is_right(
    data_dir: Path, pack: str, oracle: Pack, exact_to_px: float
) -> None:
    found = figures(data_dir / pack, oracle(data_dir / pack))
    assert found
    for table in found.values():
        assert table["unreadable_share"] == 0
    if "depth" in found:
        assert found["depth"]["delta1"] == 1 and found["depth"]["abs_rel"] < 0.005
        assert found["depth"]["ray_rmse_m"] < 0.0035
    if "correspondence" in found:
        assert found["correspondence"]["epe_mean_px"] <= exact_to_px and found["correspondence"]["pck_1_px"] == 1
    if "pose" in found:
        assert found["pose"]["auc_5_trapezoid_signed"] >= 0.94 and found["pose"]["auc_30_trapezoid_signed"] >= 0.99
        assert found["pose"]["angle_mean_error_deg"] <= 0.05
    if "objects" in found:
        assert found["objects"]["qualitative_micro"] == found["objects"]["quantitative_micro"] == 1


def swapped(reply: Reply) -> Reply:
    """Takes image 2 for image 1."""

    def other(request: TextRequest, question: str) -> str:
        first, second = request.images
        turned = TextRequest(request.item, (second, first), request.questions, request.system, request.max_new_tokens)
        return reply(turned, question)

    return other


def changed_pose(monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]) -> None:
    right = oracles.pose_reply
    monkeypatch.setattr(oracles, "pose_reply", lambda pose, question: right(change(pose), question))


def flipped(pose: np.ndarray) -> np.ndarray:
    turned = pose.copy()
    turned[:3, 3] *= -1
    return turned


def turned_back(pose: np.ndarray) -> np.ndarray:
    turned = pose.copy()
    turned[:3, :3] = pose[:3, :3].T
    return turned


@pytest.mark.parametrize(("pack", "oracle"), [("pairs_strecha", oracles.listed_pairs), ("rgbd_hololens", oracles.rgbd)])
def test_a_flipped_translation_fails_the_signed_figures_only(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, pack: str, oracle: Pack
) -> None:
    changed_pose(monkeypatch, flipped)
    pose = figures(data_dir / pack, oracle(data_dir / pack))["pose"]
    assert pose["auc_30_trapezoid_signed"] == 0 and pose["direction_mean_deg"] > 175
    assert pose["auc_30_trapezoid_unsigned"] >= 0.98


@pytest.mark.parametrize("change", [turned_back, np.linalg.inv], ids=["inverse rotation", "cameras swapped"])
def test_a_pose_the_other_way_round_is_wrong(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    changed_pose(monkeypatch, change)
    pose = figures(data_dir / "pairs_strecha", oracles.listed_pairs(data_dir / "pairs_strecha"))["pose"]
    assert pose["auc_5_trapezoid_signed"] == 0 and pose["rotation_mean_deg"] > 15


def test_swapped_images_are_wrong(data_dir: Path) -> None:
    folder = data_dir / "rgbd_hololens"
    index = oracles.rgbd(folder)

    def backwards(request: TextRequest, question: str) -> str:
        """Answers with the place in image 1 itself."""
        if "Where in the second" not in question:
            return index(request, question)
        place = oracles._asked_px(request, question, CAMERA)
        return oracles._name(place, request.images[0], CAMERA)

    found = figures(folder, backwards)["correspondence"]
    assert found["pck_5_px"] < 0.2 and found["epe_mean_px"] > 20


CAMERA = oracles.Pinhole(495.56775700934577, 495.4819626168224, 270.0, 180.0)


@pytest.mark.parametrize("pack", ["boxes_kitti", "boxes_dgp", "boxes_sunrgbd"])
def test_boxes_in_the_wrong_order_are_wrong(data_dir: Path, monkeypatch: pytest.MonkeyPatch, pack: str) -> None:
    right = oracles.object_reply
    monkeypatch.setattr(oracles, "object_reply", lambda boxes, question: right(boxes[::-1], question))
    found = figures(data_dir / pack, oracles.objects(data_dir / pack))["objects"]
    assert found["qualitative_micro"] == 0
    assert found.get("category/direction/right", 0) == 0
    for symmetric in ("distance_data", "horizontal_distance_data", "vertical_distance_data"):
        assert found.get(f"category/{symmetric}/right", 1) == 1


def test_mirrored_images_fail_where_left_and_right_are_asked(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = oracles.object_reply

    def mirrored(boxes: list[oracles.Corners], question: str) -> str:
        sign = np.array([-1, 1, 1])
        return right([box._replace(center=box.center * sign) for box in boxes], question)

    monkeypatch.setattr(oracles, "object_reply", mirrored)
    found = figures(data_dir / "boxes_kitti", oracles.objects(data_dir / "boxes_kitti"))["objects"]
    sides = [
        value
        for name, value in found.items()
        if name.startswith(("category/left", "category/right")) and name.endswith("/right")
    ]
    assert sides and max(sides) == 0
    assert found["qualitative_micro"] > 0.5


@pytest.mark.parametrize("factor", [1.3, 0.7])
def test_wrong_metres_are_wrong(data_dir: Path, factor: float) -> None:
    folder = data_dir / "depth_ibims1"
    truth = oracles.depth_lines(folder)
    found = figures(folder, lambda request, question: f"{float(truth(request, question)) * factor:.2f}")["depth"]
    assert found["delta1"] < 0.01 and found["aligned_delta1"] == 1
