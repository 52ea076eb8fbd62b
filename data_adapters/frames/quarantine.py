"""Videos that could not be decoded, remembered until their file changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from verl_vsi.data_adapters.files import write_text
from verl_vsi.data_adapters.frames.content import signature
from verl_vsi.data_adapters.frames.errors import FrameError


class Quarantine:
    """A folder of small JSON files, one a video.

    Args:
        root: the folder.
        active: False: remember nothing and refuse nothing.
    """

    def __init__(self, root: Path, active: bool) -> None:  # noqa: D107
        self._root = root
        self._active = active

    def add(self, video: Path, name: str, error: FrameError) -> None:
        """Remember that `video`, called `name` in the store, failed with `error`."""
        if self._active and video.exists():
            record = {"video": name, "cause": error.cause, **vars(signature(video))}
            write_text(self._file(name), json.dumps(record, indent=1))

    def refuse(self, video: Path, name: str) -> None:
        """Stop at a video that is remembered; forget it if its file has changed since.

        Raises:
            FrameError: it is remembered; says why and how to retry.
        """
        file = self._file(name)
        if not (self._active and file.exists() and video.exists()):
            return
        record = json.loads(file.read_text(encoding="utf-8"))
        if {k: record.get(k) for k in ("size", "mtime_ns")} == vars(signature(video)):
            raise FrameError(video, f"in quarantine: {record['cause']}", f"replace the file, or delete {file} to retry")
        file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._root / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
