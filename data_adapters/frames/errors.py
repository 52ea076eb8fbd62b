"""What is wrong with a video, by name, and what to do about it."""

from __future__ import annotations

from pathlib import Path

REMEDY = (
    "replace the file, or set vsi.frames.on_error=skip (leave its rows out) or =quarantine (the same, and remember it)"
)


class FrameError(ValueError):
    """A video that can't give frames; the message names the file, the cause and the way out."""

    def __init__(self, video: Path | str, cause: str, remedy: str = REMEDY) -> None:  # noqa: D107
        super().__init__(f"video '{video}': {cause}; {remedy}")
        self.video = str(video)
        self.cause = cause
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[FrameError], tuple[str, str, str]]:
        """Cross process borders whole (a builder's workers raise it)."""
        return FrameError, (self.video, self.cause, self.remedy)


class CountMismatchError(Exception):
    """The container announced another number of frames than its healthy stream holds."""

    def __init__(self, actual: int) -> None:  # noqa: D107
        super().__init__(f"the stream holds {actual} frames")
        self.actual = actual
