"""Which models start, and what is said of those that we do not know."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from verl_vsi.config.access import video_tokens
from verl_vsi.config.recipes import Composer
from verl_vsi.preflight.model import VERL_PROCESSORS, check_family, model_remarks


def folder(path: Path, family: str, patch: int = 14) -> str:
    """A model's folder, as far as its config goes."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": family, "vision_config": {"patch_size": patch}}))
    return str(path)


def found(compose: Composer, command: str) -> list[str]:
    return [problem.what for problem in check_family(compose.recipe(command))]


@pytest.mark.parametrize(
    "command",
    ["vsgrpo_2b", "vsgrpo_2b model=qwen3_vl_4b", "vsgrpo_2b model=qwen3_5_2b", "dpo_2b model/sft=qwen2_5_vl_3b"],
)
def test_models_of_the_slot_start(compose: Composer, command: str) -> None:
    assert not found(compose, command)


@pytest.mark.parametrize("family", ["internvl", "llava_onevision", "internvl_chat"])
@pytest.mark.parametrize("recipe", ["vsgrpo_2b", "sft_2b"])
def test_a_family_of_which_verl_makes_no_processor_is_refused(
    compose: Composer, tmp_path: Path, family: str, recipe: str
) -> None:
    (problem,) = found(compose, f"{recipe} vsi.model={folder(tmp_path / 'model', family)}")
    assert f"is of type {family}, and verl 0.9.1 makes no processor of it" in problem


def test_the_path_that_verl_loads_is_looked_at(compose: Composer, tmp_path: Path) -> None:
    model = folder(tmp_path / "model", "internvl")
    assert found(compose, f"vsgrpo_2b actor_rollout_ref.model.path={model}")
    assert found(compose, f"sft_2b model.path={model}")


def test_a_family_that_only_verl_knows_trains_with_a_word_on_it(compose: Composer, tmp_path: Path) -> None:
    command = f"vsgrpo_2b vsi.model={folder(tmp_path / 'model', 'glm4v')}"
    assert not found(compose, command)
    assert "positions and prompt lengths are verl's" in "".join(model_remarks(compose.recipe(command)))
    (problem,) = found(compose, command.replace("vsgrpo", "sft"))
    assert "rows of SFT and DPO are made for qwen2_vl" in problem


def test_frames_for_other_patches_are_named_with_the_way_out(compose: Composer, tmp_path: Path) -> None:
    command = f"vsgrpo_2b vsi.model={folder(tmp_path / 'model', 'qwen3_vl', patch=16)}"
    (problem,) = found(compose, command)
    assert "has patches of 16 pixels, and frames are stored for patches of 14" in problem
    assert not found(compose, f"{command} ++vsi.frames.patch_size=16")


def test_a_model_that_is_not_at_hand_is_left_to_verl(compose: Composer) -> None:
    assert not found(compose, "vsgrpo_2b vsi.model=nobody/nothing")


@pytest.mark.parametrize(
    ("command", "remarks"),
    [
        ("vsgrpo_7b", 0),
        ("vsgrpo_7b model=qwen3_vl_8b", 1),
        ("vsgrpo_7b model=qwen3_vl_8b backend=fsdp2", 0),
        ("vsgrpo_7b model=qwen2_5_vl_7b", 0),
        ("vsgrpo_7b model=qwen2_5_vl_7b passes=stock", 1),
    ],
)
def test_megatrons_own_positions_are_said_to_be_unchecked(compose: Composer, command: str, remarks: int) -> None:
    assert len(list(model_remarks(compose.recipe(command)))) == remarks


@pytest.mark.parametrize(
    ("command", "tokens"),
    [
        ("vsgrpo_2b", 8 * 128),
        ("vsgrpo_2b model=qwen3_vl_4b", 8 * (128 + 10)),
        ("sft_2b model/sft=qwen2_5_vl_3b", 8 * 128),
    ],
)
def test_a_videos_tokens_are_counted_with_their_times(compose: Composer, command: str, tokens: int) -> None:
    assert video_tokens(compose.recipe(command)) == tokens


def test_the_processors_are_those_that_verl_knows() -> None:
    """The day that this fails, verl's table has changed: change ours."""
    from verl.utils import hf_processor

    assert tuple(re.findall(r'case "(\w+)"', inspect.getsource(hf_processor))) == VERL_PROCESSORS
