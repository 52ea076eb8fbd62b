"""How a checkpoint was trained, from the record of its run: what an evaluation of it starts from.

The same checkpoint scores very differently with another mode, prompt or number of frames, so none of them is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from verl_vsi.config.checkpoints import TRACKER, record_of, step_folder
from verl_vsi.config.provenance import latest
from verl_vsi.data_adapters.frames.spec import FrameSpec
from verl_vsi.evaluation.protocol import NEED, Mode, Preset, Protocol

_STEP = "global_step_"
_DEPTH = 4
"""Folders from a model's up to its run's, such as run/global_step_9/actor/huggingface."""


@dataclass(frozen=True)
class TrainedWith:
    """What a run's record says of its checkpoint.

    Args:
        recipe: that it was trained by.
        place: the folder whose record was read.
        preset: the run's mode, evaluation prompts and frames; answers are read as in training.
    """

    recipe: str
    place: Path
    preset: Preset

    def line(self, protocol: Protocol) -> str:
        """What an evaluation takes from the run, and what it does not, in one line.

        Args:
            protocol: of the evaluation.
        """
        used, own = protocol.labels(), self.preset
        assert own.mode is not None, "a run has a mode"
        trained = {"mode": own.mode.name, "frames": own.frames.key}
        differing = [
            f"{key} {used[key]} (trained with {value})" for key, value in trained.items() if used[key] != value
        ]
        if protocol.preset.partition(",")[0] != "run":
            differing.append(f"preset {protocol.preset}")
        asked = f"mode {used['mode']}, {used['prompts']}, {used['nframes']} frames ({used['frames']})"
        return f"{self.recipe} ({self.place}): asked with {asked}" + (
            f"; other than in training: {', '.join(differing)}" if differing else ", as it was trained"
        )


def trained_with(model: str) -> TrainedWith | None:
    """The record of the run that a local model comes from; None for a hub name, or where there is no record.

    Args:
        model: a run's folder, ``global_step_N``, its ``actor``, or a model folder in it.

    Raises:
        ValueError: there is a record, and it lacks mode or frames.
    """
    folder = Path(model)
    if not folder.is_dir():
        return None
    place, record = _record(folder.resolve())
    if record is None:
        return None
    try:
        return TrainedWith(str(record["recipe"]), place, _preset(record["resolved"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"the record of {place} does not say mode and frames ({error!r}): give --preset, --mode and --nframes"
        ) from error


def _record(folder: Path) -> tuple[Path, Mapping[str, Any] | None]:
    """The checkpoint's own record, else that of its run's latest start."""
    for place in (folder, *list(folder.parents)[: _DEPTH - 1]):
        if place.name.startswith(_STEP):
            return place, record_of(place) or latest(place.parent)
    tracker = folder / TRACKER
    step = tracker.read_text().strip() if tracker.is_file() else ""
    own = record_of(step_folder(folder, int(step))) if step.isdecimal() else None
    return folder, own or latest(folder)


def _preset(resolved: Mapping[str, Any]) -> Preset:
    mode, data = resolved["vsi"]["mode"], resolved.get("data") or {}
    own = Mode(**{field.name: mode[field.name] for field in fields(Mode)})
    length = max(own.response_length, int(data.get("max_response_length") or 0), NEED[own.name])
    return Preset("test", "robust", FrameSpec.from_config({**resolved["vsi"]["frames"]}), length, own)
