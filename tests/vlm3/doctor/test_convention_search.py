"""The search finds the convention that was broken, also where two things are broken at once."""

import pytest

from tests.broken import GL_AXES, INVERTED, RAY_AS_Z, Break, broken, deep, room_groups
from vlm3.doctor.convention_search import search
from vlm3.doctor.reprojection import StoredDepth, pairs_of


def found(*changes: Break) -> tuple[str, float, StoredDepth]:
    groups = room_groups()
    for change in changes:
        groups = broken(groups, change)
    best = search([pair for group in groups for pair in pairs_of(group)])
    return best.pose.convention.pose.name, best.kind.convention.depth_factor, best.kind.convention.depth


def test_a_sound_source_is_left_as_it_is() -> None:
    name, factor, kind = found()
    assert name.startswith("world_T_cam with")
    assert factor == pytest.approx(1, rel=0.02)
    assert kind is StoredDepth.Z


@pytest.mark.parametrize("factor", [0.001, 0.2, 1.2, 5.0, 1000.0])
def test_the_factor_of_depth_is_measured(factor: float) -> None:
    assert found(deep(factor))[1] == pytest.approx(1 / factor, rel=0.03)


def test_a_pose_and_a_factor_that_are_both_wrong_are_both_named() -> None:
    name, factor, kind = found(INVERTED, deep(5.0))
    assert name.startswith("world_T_cam inverted (")
    assert factor == pytest.approx(0.2, rel=0.03)
    assert kind is StoredDepth.Z


def test_axes_kind_and_factor_that_are_all_wrong_are_all_named() -> None:
    name, factor, kind = found(GL_AXES, RAY_AS_Z, deep(1000.0))
    assert name.startswith("OpenGL")
    assert factor == pytest.approx(0.001, rel=0.03)
    assert kind is StoredDepth.RAY
