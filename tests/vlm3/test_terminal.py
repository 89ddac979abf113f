"""What a job's user sees and what its log keeps: real processes, which write as libraries do."""

import os
import pty
import subprocess
import sys
from pathlib import Path

PREAMBLE = """
import ctypes, logging, os, subprocess, sys
from pathlib import Path
from vlm3 import terminal
from vlm3.errors import ConfigError
from vlm3.job import run_job
from vlm3.log import get_logger
log = get_logger("vlm3.train.loop")
folder = Path(sys.argv[1])
"""
CHATTER = """
    print("python chatter")
    print("python error chatter", file=sys.stderr)
    os.write(1, b"raw chatter\\n")
    ctypes.CDLL(None).puts(b"c chatter"); ctypes.CDLL(None).fflush(None)
    logging.getLogger("ray").warning("library chatter")
    subprocess.run([sys.executable, "-c", "print('chatter of a child')"])
    subprocess.run("echo chatter on a higher descriptor >&3 || true", shell=True, stderr=subprocess.DEVNULL)
"""
FOREIGN = 6
"""Lines of CHATTER that can be written."""


def forwarded(level: str, text: str, name: str = "vlm3.stream.samples") -> str:
    """A statement that prints what Ray prints for a line of a worker's log."""
    return f"print('\\x1b[36m(MapWorker(Decode) pid=12, ip=10.0.0.1)\\x1b[0m 10:11:12 {level} {name}: {text}')"


def job(body: str, folder: Path, *, verbose: bool = False) -> subprocess.CompletedProcess[str]:
    script = f"{PREAMBLE}\ndef main():\n    terminal.start(verbose={verbose})\n    {body}\nrun_job(main)\n"
    return subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "COLUMNS"},
    )


def kept(folder: Path) -> str:
    (file,) = folder.glob("*.log")
    return file.read_text()


def test_all_that_libraries_print_is_in_the_log_and_nothing_of_it_on_the_terminal(tmp_path: Path) -> None:
    body = f"terminal.keep_log(folder){CHATTER}    terminal.say('ours'); terminal.out().print('a result')"
    done = job(body, tmp_path / "run" / "log")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a result\n", "ours\n")
    assert kept(tmp_path / "run" / "log").count("chatter") == FOREIGN


def test_verbose_shows_all_and_keeps_no_log(tmp_path: Path) -> None:
    body = f"terminal.keep_log(folder){CHATTER}    log.info('ours')"
    done = job(body, tmp_path / "run" / "log", verbose=True)
    assert (done.stdout + done.stderr).count("chatter") == FOREIGN
    assert "I vlm3.train.loop: ours" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_our_own_log_is_shown_plainly_and_kept_with_its_time(tmp_path: Path) -> None:
    done = job("terminal.keep_log(folder); log.info('part one'); log.debug('no')", tmp_path / "run" / "log")
    assert done.stderr == "part one\n"
    assert kept(tmp_path / "run" / "log").rstrip().endswith(" I vlm3.train.loop: part one")


def test_a_warning_is_shown_once_whatever_its_numbers_and_the_rest_is_counted(tmp_path: Path) -> None:
    body = (
        "terminal.keep_log(folder)\n    for n in range(9): log.warning('position %d is bad', n)\n"
        "    for letter in 'abcd': log.warning('file %s is bad', letter)"
    )
    done = job(body, tmp_path / "run" / "log")
    shown = done.stderr.splitlines()
    assert shown[:3] == ["warning: position 0 is bad", "warning: file a is bad", "warning: file b is bad"]
    (log,) = (tmp_path / "run" / "log").iterdir()
    assert shown[3:] == [f"10 more warnings of these kinds: {log}"]
    assert kept(tmp_path / "run" / "log").count("is bad") == 13


def test_what_our_processes_elsewhere_say_is_shown_and_what_else_ray_brings_is_not(tmp_path: Path) -> None:
    lines = [
        forwarded("I", "continuing at step 7", "vlm3.train.worker"),
        forwarded("I", "continuing at step 7 [repeated 2x across cluster] (Ray deduplicates)", "vlm3.train.worker"),
        forwarded("W", "position 5 is bad"),
        forwarded("W", "position 6 is bad"),
        forwarded("W", "not ours", "ray.train"),
        "print('(RayTrainWorker pid=3) step 3 of 7')",
        "print('10:11:12 W vlm3.stream.samples: as this process would write it itself')",
    ]
    done = job("terminal.keep_log(folder); " + "; ".join(lines), tmp_path / "run" / "log")
    shown = done.stderr.splitlines()
    assert shown[:2] == ["continuing at step 7", "warning: position 5 is bad"]
    assert len(shown) == 3 and shown[2].startswith("1 more warnings of these kinds")


def test_a_refused_job_leaves_no_log_and_no_folder_of_its_own(tmp_path: Path) -> None:
    done = job("terminal.keep_log(folder); raise ConfigError('no')", tmp_path / "train" / "run" / "log")
    assert (done.returncode, done.stderr) == (2, "error: no\n")
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_beside_an_older_run_leaves_that_run_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "train" / "run").mkdir(parents=True)
    (tmp_path / "train" / "run" / "run.json").touch()
    done = job("terminal.keep_log(folder); raise ConfigError('no')", tmp_path / "train" / "run" / "log")
    assert done.returncode == 2
    assert [path.name for path in (tmp_path / "train" / "run").iterdir()] == ["run.json"]


def test_the_log_of_a_job_that_had_begun_stays(tmp_path: Path) -> None:
    begun = "terminal.say('Ray' + terminal.where_the_log_is()); (folder.parent / 'run.json').touch()"
    done = job(f"terminal.keep_log(folder); {begun}; raise ConfigError('no')", tmp_path / "train" / "run" / "log")
    (log,) = (tmp_path / "train" / "run" / "log").iterdir()
    assert (done.returncode, done.stderr) == (2, f"Ray; what libraries print: {log}\nerror: no\n")


def test_a_bug_is_shown_whole_and_its_last_line_says_where_the_log_is(tmp_path: Path) -> None:
    done = job(f"terminal.keep_log(folder){CHATTER}    raise ValueError('x' * 400)", tmp_path / "run" / "log")
    assert done.returncode == 1
    *trace, last = done.stderr.splitlines()
    (log,) = (tmp_path / "run" / "log").iterdir()
    assert trace[0].startswith("Traceback") and trace[-1] == f"ValueError: {'x' * 400}"
    assert last == f"error: ValueError: {'x' * 300}…; what libraries print: {log}"


def test_no_line_is_cut_or_folded_where_the_output_is_no_terminal(tmp_path: Path) -> None:
    done = job("terminal.keep_log(folder); terminal.say('word ' * 100); log.warning('[bold] ' * 60)", tmp_path / "log")
    assert done.stderr == f"{'word ' * 100}\nwarning: {'[bold] ' * 60}\n"


def test_a_terminal_stays_a_terminal(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    code = "terminal.keep_log(Path(sys.argv[1])); print('chatter'); terminal.say(str(terminal.err().is_terminal))"
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code, str(tmp_path / "log")], stdout=follower, stderr=follower, check=True
    )
    os.close(follower)
    assert done.returncode == 0 and os.read(leader, 1000) == b"True\r\n"
    os.close(leader)
