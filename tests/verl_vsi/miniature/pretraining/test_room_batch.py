"""Rooms that pretraining looks at: the same whoever draws them."""

from __future__ import annotations

import numpy as np
import pytest
from rich.progress import Progress

from verl_vsi.miniature.pretraining import room_batch


def test_more_rooms_than_workers_give_one_worker_s_very_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_batch, "FEW", 2)
    alone, shared = (room_batch.draw_room_batch(3, 5, Progress(disable=True), workers) for workers in (1, 3))
    assert repr(alone.rooms) == repr(shared.rooms)
    assert np.array_equal(alone.frames, shared.frames)
    assert np.array_equal(alone.token_categories, shared.token_categories)
