"""Files are written whole or not at all, and stay under their root."""

import os
from pathlib import Path

import pytest

from verl_vsi.data_adapters.files import atomic_path, inside, relative, write_text


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
