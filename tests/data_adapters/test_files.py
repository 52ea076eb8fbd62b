"""Files are written whole or not at all, and stay under their root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from verl_vsi.data_adapters.files import atomic_path, full_disk_named, inside, relative, write_text


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "rows.json"
    write_text(target, "old")
    with pytest.raises(OSError, match="disk full"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664), (0o077, 0o600)])
def test_a_written_file_may_be_read_by_whom_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "deep" / "a.txt", "é")
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "a.txt").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    "climber",
    [
        pytest.param("../other/a.mp4", id="climbs"),
        pytest.param("scannet/../../a.mp4", id="climbs in the middle"),
        pytest.param("/etc/passwd", id="absolute"),
        pytest.param("scannet\\..\\a.mp4", id="backslashes"),
    ],
)
def test_a_path_that_leaves_the_root_is_refused(tmp_path: Path, climber: str) -> None:
    with pytest.raises(ValueError, match="leaves the data root"):
        inside(tmp_path, climber)


def test_a_link_that_leaves_the_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leaves the data root"):
        inside(root, "link/a.mp4")


def test_a_root_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    assert inside(tmp_path / "root", "scannet/a.mp4").name == "a.mp4"


@pytest.mark.parametrize(
    "text",
    [
        "../x.mp4",  # climbs out
        "a/../../x.mp4",  # climbs out later
        "/etc/x.mp4",  # absolute
        "C:\\x.mp4",  # absolute on Windows
        "..\\x.mp4",  # climbs out on Windows
        " ",  # nothing
    ],
)
def test_a_record_s_path_that_leaves_the_root_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="leaves the data root"):
        relative(text, "row 3")


FULL = """
import resource, sys
from pathlib import Path
from verl_vsi.data_adapters.files import write_bytes
write_bytes(Path(sys.argv[1]), b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
write_bytes(Path(sys.argv[1]), b"x" * 100_000)
"""


def test_a_full_disk_is_said_with_path_and_free_space_and_keeps_the_old_file(tmp_path: Path) -> None:
    """A limit on a file's size (EFBIG) stands for the full disk (ENOSPC): it needs no mount."""
    target = tmp_path / "rows.parquet"
    done = subprocess.run([sys.executable, "-c", FULL, str(target)], capture_output=True, text=True, check=False)
    assert f"DiskFullError: [Errno 27] writing {target} failed (File too large): {tmp_path} has " in done.stderr
    assert "MiB free of" in done.stderr
    assert "give the same command again: what was written before is whole" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == [target.name]
    assert target.read_bytes() == b"old"


HALF = """
import sys, time
from pathlib import Path
from verl_vsi.data_adapters.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("half", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_writer_left_goes_with_the_next_write_and_a_living_ones_stays(tmp_path: Path) -> None:
    target = tmp_path / "rows[1].parquet"
    writer = subprocess.Popen([sys.executable, "-c", HALF, str(target)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half\n"
    write_text(target, "whole")
    assert len(list(tmp_path.iterdir())) == 2, "the living writer's file stays"
    writer.kill()
    writer.wait()
    write_text(target, "whole")
    assert list(tmp_path.iterdir()) == [target]


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), full_disk_named(tmp_path):
        raise PermissionError(13, "no")


LINES_UNTIL_FULL = {
    "a worklog": """
from verl_vsi.data_adapters.work import Worklog
lines = Worklog(path, lambda line: True)
write = lambda i: lines.add({"id": str(i)})
""",
    "an evaluation's journal": """
from verl_vsi.evaluation.ask.journal import Journal
from verl_vsi.evaluation.items import Reply
lines = Journal(path, {})
write = lambda i: lines.add(Reply(i, "ok", "3"))
""",
}


@pytest.mark.parametrize("name", LINES_UNTIL_FULL)
def test_lines_that_are_appended_name_a_full_disk_though_closing_the_file_fails_as_well(
    tmp_path: Path, name: str
) -> None:
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    limit += "from pathlib import Path\npath = Path(sys.argv[1])"
    fill = "with lines:\n    for i in range(9999):\n        write(i)\n"
    words = [sys.executable, "-c", limit + LINES_UNTIL_FULL[name] + fill, str(tmp_path / "lines.jsonl")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "DiskFullError: [Errno 27] writing" in done.stderr.splitlines()[-1]
    assert "MiB free of" in done.stderr.splitlines()[-1]
