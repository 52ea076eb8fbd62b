"""A pipeline goes on where it was, and says what went wrong in a stage."""

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from verl_vsi.lifetime.leftovers import is_alive
from verl_vsi.lifetime.run_lock import RunBusyError
from verl_vsi.miniature.pipeline import Stage, StageError, run_stages


def quiet() -> Console:
    return Console(file=io.StringIO())


def stage(folder: Path, code: str, **options: float) -> Stage:
    output = folder / "out.txt"
    return Stage("step", (sys.executable, "-c", code.format(out=str(output))), output, **options)  # type: ignore[arg-type]


APPEND = "open({out!r}, 'a').write('x')"


def test_a_done_stage_is_not_run_again(tmp_path: Path) -> None:
    run_stages([stage(tmp_path, APPEND)], tmp_path, quiet())
    seconds = run_stages([stage(tmp_path, APPEND)], tmp_path, quiet())
    assert (tmp_path / "out.txt").read_text() == "x"
    assert seconds["step"] >= 0


def test_another_command_runs_again(tmp_path: Path) -> None:
    run_stages([stage(tmp_path, APPEND)], tmp_path, quiet())
    run_stages([stage(tmp_path, APPEND + "  # changed")], tmp_path, quiet())
    assert (tmp_path / "out.txt").read_text() == "xx"


def test_a_stage_whose_output_is_gone_runs_again(tmp_path: Path) -> None:
    run_stages([stage(tmp_path, APPEND)], tmp_path, quiet())
    (tmp_path / "out.txt").unlink()
    run_stages([stage(tmp_path, APPEND)], tmp_path, quiet())
    assert (tmp_path / "out.txt").exists()


def test_a_failure_shows_the_command_and_the_logs_end(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"ended with status 3(?s:.)*the cause"):
        run_stages([stage(tmp_path, "print('the cause'); raise SystemExit(3)")], tmp_path, quiet())


def test_a_command_that_leaves_no_output_has_failed(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="is there: False"):
        run_stages([stage(tmp_path, "pass")], tmp_path, quiet())


def test_a_stage_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"
    with pytest.raises(StageError, match="ended with status -15"):
        run_stages([stage(tmp_path, child, limit=1.0)], tmp_path, quiet())


def test_a_stage_with_retries_gets_them(tmp_path: Path) -> None:
    code = "import pathlib, sys; p = pathlib.Path({out!r}); sys.exit(0) if p.exists() else (p.touch(), sys.exit(1))"
    run_stages([stage(tmp_path, code, retries=1)], tmp_path, quiet())


PIPELINE = """
import sys
from pathlib import Path
from rich.console import Console
from verl_vsi.commands._common import exit_status
from verl_vsi.lifetime.leftovers import is_alive
from verl_vsi.lifetime.run_lock import RunBusyError
from verl_vsi.miniature.pipeline import Stage, run_stages

folder = Path(sys.argv[1])
code = f"import os, time; open({str(folder / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
with exit_status(RuntimeError):
    run_stages([Stage("step", (sys.executable, "-c", code), folder / "out.txt")], folder, Console())
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, -1), (signal.SIGKILL, -9)]
)
def test_a_stage_ends_with_whoever_runs_the_pipeline(tmp_path: Path, number: int, status: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", PIPELINE, str(tmp_path)], stdout=subprocess.DEVNULL)
    pid = wait_for(lambda: int((tmp_path / "pid").read_text() or 0) if (tmp_path / "pid").exists() else 0)
    with pytest.raises(RunBusyError, match=f"in use by process {process.pid}"):
        run_stages([], tmp_path, quiet())
    process.send_signal(number)
    assert process.wait(60) == status
    assert wait_for(lambda: not is_alive(pid))
    run_stages([], tmp_path, quiet())


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 30
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return value
