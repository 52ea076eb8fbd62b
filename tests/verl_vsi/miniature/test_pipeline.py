"""A pipeline goes on where it was, and says what went wrong in a stage."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

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
