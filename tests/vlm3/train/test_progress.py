"""Progress and summary are files that readers never see half-written."""

import threading
from pathlib import Path

from vlm3.train.progress import Progress, read_progress, read_summary, write_summary


def test_progress_is_none_before_the_first_step_and_then_the_last_written(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    for step in (1, 2):
        Progress(step, 10, 1.5, 30.0, 0.1).write(tmp_path)
    assert read_progress(tmp_path) == Progress(2, 10, 1.5, 30.0, 0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


def test_a_reader_beside_a_writer_sees_whole_files(tmp_path: Path) -> None:
    def write() -> None:
        for step in range(1, 300):
            Progress(step, 300, 1.0 / step, 1.0, 0.0, "x" * step).write(tmp_path)

    writer = threading.Thread(target=write)
    writer.start()
    seen = [read_progress(tmp_path) for _ in range(300)]
    writer.join()
    steps = [progress.step for progress in seen if progress is not None]
    assert steps == sorted(steps) and read_progress(tmp_path).step == 299


def test_the_summary_comes_back(tmp_path: Path) -> None:
    write_summary(tmp_path, {"loss_last": 0.25, "eval/rooms/delta1": 0.5})
    assert read_summary(tmp_path) == {"loss_last": 0.25, "eval/rooms/delta1": 0.5}
