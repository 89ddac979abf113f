"""Bad samples: the table keeps them, the limit stops a run by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm3.errors import DataError
from vlm3.stream.quarantine import Fault, FaultKind, QuarantineLimit, faults_to_table, table_to_faults

FAULTS = st.builds(
    Fault,
    position=st.integers(0, 2**62),
    attempt=st.integers(0, 8),
    component=st.text(),
    item=st.text(),
    kind=st.sampled_from(FaultKind),
    error=st.text(),
    reason=st.text(),
)


@given(st.lists(FAULTS, max_size=5))
def test_faults_survive_their_table(faults: list[Fault]) -> None:
    assert table_to_faults(faults_to_table(faults)) == tuple(faults)


def test_the_component_that_is_worse_than_allowed_is_named() -> None:
    limit = QuarantineLimit(per_1000=50)
    names, seen = ("rooms/depth", "street/depth"), np.array([10_000, 1000])
    limit.check(names, seen, np.array([500, 50]))
    with pytest.raises(DataError, match=r"component street/depth: 51 of 1000 .*max_bad_per_1000 = 50.*doctor"):
        limit.check(names, seen, np.array([500, 51]))


def test_the_first_samples_prove_nothing_until_they_are_too_many() -> None:
    limit = QuarantineLimit(per_1000=50)
    limit.check(("rooms/depth",), np.array([4]), np.array([4]))
    with pytest.raises(DataError, match=r"6 of 6"):
        limit.check(("rooms/depth",), np.array([6]), np.array([6]))


def test_nothing_bad_is_allowed_where_the_limit_is_zero() -> None:
    with pytest.raises(DataError):
        QuarantineLimit(per_1000=0).check(("rooms/depth",), np.array([1000]), np.array([1]))
