"""One line of the doctor's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """What was looked at and what was found."""

    name: str
    status: Status
    detail: str
    remedy: str = ""
    """The way out; a failing check always has one."""

    def __post_init__(self) -> None:
        """A failure without a way out is of no use to its reader."""
        if self.status == "fail" and not self.remedy:
            raise ValueError(f"check '{self.name}' fails without a remedy")
