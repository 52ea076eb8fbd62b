"""An evaluation of one's own checkpoint starts from what its run's record says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from verl_vsi.config import provenance
from verl_vsi.config.checkpoints import RECORD, TRACKER
from verl_vsi.config.provenance import resolved
from verl_vsi.config.recipes import composer
from verl_vsi.evaluation.ask.trained_with import trained_with
from verl_vsi.evaluation.protocol import make_protocol


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """As a run of the miniature's recipe in mode T with frames of its own writes it."""
    with composer() as compose, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSI_ROOT", "/data")
        config = compose.recipe("vsgrpo_miniature mode=think vsi.frames.nframes=8")
        return {"recipe": "vsgrpo_miniature", "resolved": resolved(config)}


@pytest.fixture
def run(tmp_path: Path, record: dict[str, Any]) -> Path:
    """A run's folder with two checkpoints; only the first holds its own record, with 8 frames, the run's has 6."""
    (tmp_path / TRACKER).write_text("20")
    for step in (10, 20):
        (tmp_path / f"global_step_{step}" / "actor" / "huggingface").mkdir(parents=True)
    (tmp_path / "global_step_10" / RECORD).write_text(json.dumps(record))
    later = json.loads(json.dumps(record))
    later["resolved"]["vsi"]["frames"]["nframes"] = 6
    provenance.write(later, tmp_path / provenance.FOLDER / "1.json")
    return tmp_path


@pytest.mark.parametrize(
    ("place", "nframes"),
    [
        ("", 6),  # the tracker's checkpoint has no record of its own
        ("global_step_20/actor", 6),
        ("global_step_10", 8),
        ("global_step_10/actor", 8),
        ("global_step_10/actor/huggingface", 8),
    ],
)
def test_mode_prompts_and_frames_are_those_of_the_checkpoint(run: Path, place: str, nframes: int) -> None:
    own = trained_with(str(run / place))
    assert own is not None
    assert own.preset.mode is not None
    protocol = make_protocol("run", run=own.preset)
    assert (protocol.preset, protocol.mode.name, protocol.extraction, protocol.prompts) == (
        "run",
        "think",
        "robust",
        "test",
    )
    assert (protocol.frames.nframes, protocol.frames.sampler, protocol.frames.max_pixels) == (
        nframes,
        "linspace",
        12544,
    )
    assert protocol.max_tokens == 1024
    assert own.line(protocol).endswith(f"{nframes} frames ({protocol.frames.key}), as it was trained")


def test_the_checkpoint_that_the_tracker_names_speaks_for_its_run(run: Path) -> None:
    (run / TRACKER).write_text("10")
    own = trained_with(str(run))
    assert own is not None
    assert own.preset.frames.nframes == 8


def test_what_is_overridden_is_labelled_and_said(run: Path) -> None:
    own = trained_with(str(run))
    assert own is not None
    changed = make_protocol("run", run=own.preset, frames={"nframes": 4})
    assert changed.labels()["preset"] == "run, changed"
    assert "other than in training: frames linspace-n4-12544-12544-pyav (trained with" in own.line(changed)
    vanilla = make_protocol("run", "vanilla", run=own.preset)
    assert (vanilla.preset, vanilla.mode.name, vanilla.max_tokens) == ("run, changed", "vanilla", 32)
    official = make_protocol("official", run=own.preset)
    assert (official.preset, official.mode.name, official.frames.nframes) == ("official", "vanilla", 32)
    assert "preset official" in own.line(official)


def test_prompts_of_the_runs_own_are_labelled_as_such(run: Path) -> None:
    path = run / provenance.FOLDER / "1.json"
    record = provenance.read(path)
    record["resolved"]["vsi"]["mode"]["eval_prompt"] = "Say a number."
    provenance.write(record, path)
    own = trained_with(str(run))
    assert own is not None
    assert make_protocol("run", run=own.preset).labels()["prompts"] == "the run's own prompts"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record["resolved"].pop("vsi"),
        lambda record: record["resolved"]["vsi"].update(mode=None),
        lambda record: record["resolved"]["vsi"]["mode"].pop("eval_prompt"),
        lambda record: record["resolved"]["vsi"]["mode"].update(name="dream"),
        lambda record: record["resolved"]["vsi"]["frames"].update(nframes=-1),
        lambda record: record["resolved"]["vsi"]["frames"].update(nframes="8"),
        lambda record: record["resolved"]["vsi"].update(frames=[]),
        lambda record: record.update(resolved=None),
        lambda record: record["resolved"].update(data={"max_response_length": "long"}),
    ],
)
def test_a_spoilt_record_is_an_error_with_the_way_out(run: Path, spoil: Callable[[dict[str, Any]], Any]) -> None:
    path = run / provenance.FOLDER / "1.json"
    record = provenance.read(path)
    spoil(record)
    provenance.write(record, path)
    with pytest.raises(ValueError, match=r"does not say mode and frames .*give --preset, --mode and --nframes"):
        trained_with(str(run))


def test_models_without_a_record_have_none(tmp_path: Path) -> None:
    assert trained_with("Qwen/Qwen2-VL-2B-Instruct") is None
    assert trained_with(str(tmp_path)) is None
    with pytest.raises(ValueError, match=r"preset 'run' is unknown.*in the folder of their run"):
        make_protocol("run")
