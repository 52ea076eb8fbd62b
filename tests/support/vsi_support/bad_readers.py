"""What a video can do to its reader: called in worker processes, which import it by name."""

import time
from pathlib import Path


def sleep(video: Path, seconds: float) -> None:
    """Block in a call that looks at no clock."""
    time.sleep(60)


def grow(video: Path, seconds: float) -> int:
    """Take a gigabyte."""
    return len(bytearray(1 << 30))
