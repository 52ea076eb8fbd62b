from __future__ import annotations

from pathlib import Path

import pytest

from verl_vsi.config import recipes
from verl_vsi.config.trainers import DPO, PPO, SFT, config_dirs, recipe_trainer, wrong_slot, wrong_trainer

OURS = recipes.folders()


@pytest.mark.parametrize(
    ("module", "arguments", "fix"),
    [
        (SFT, ["+recipe=vsgrpo_7b", "mode=think"], f"python -m {PPO} +recipe=vsgrpo_7b mode=think"),
        (PPO, ["+recipe=sft_2b"], f"torchrun --standalone --nproc_per_node=1 -m {SFT} +recipe=sft_2b"),
        (PPO, ["+recipe=sft_2b", "ablation=[a,b]"], "'ablation=[a,b]'"),  # quoted for the shell
    ],
)
def test_the_right_command_is_given(module: str, arguments: list[str], fix: str) -> None:
    problem = wrong_trainer(module, arguments, OURS)
    assert problem is not None
    assert fix in problem.fix


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (PPO, ["+recipe=vsgrpo_7b"]),
        (SFT, ["+recipe=sft_7b"]),
        (PPO, ["trainer.nnodes=2"]),  # no recipe: verl as it is
        ("my.own.trainer", ["+recipe=sft_7b"]),
        (PPO, ["+recipe=no_such"]),  # Hydra says so better
    ],
)
def test_nothing_is_said_where_it_fits(module: str, arguments: list[str]) -> None:
    assert wrong_trainer(module, arguments, OURS) is None


def test_a_users_recipe_takes_the_trainer_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - sft_2b\n  - _self_\n")
    assert recipe_trainer("mine", [*OURS, tmp_path]) == SFT
    assert wrong_trainer(PPO, ["+recipe=mine", "--config-dir", str(tmp_path)], OURS) is not None


@pytest.mark.parametrize("module", [SFT, DPO])
def test_a_model_is_given_by_its_own_slot_under_the_sft_trainer(module: str) -> None:
    problem = wrong_slot(module, ["+recipe=sft_2b", "model=qwen3_vl_4b", "mode=think"], OURS)
    assert problem is not None
    assert "+recipe=sft_2b model/sft=qwen3_vl_4b mode=think" in problem.fix


@pytest.mark.parametrize(
    ("module", "argument"),
    [
        (PPO, "model=qwen3_vl_4b"),
        (SFT, "model/sft=qwen3_vl_4b"),
        (SFT, "model=hf_model"),  # verl's own option
        (SFT, "model.path=/some/folder"),
    ],
)
def test_a_slot_that_fits_is_left_alone(module: str, argument: str) -> None:
    assert wrong_slot(module, ["+recipe=sft_2b", argument], OURS) is None


@pytest.mark.parametrize(
    ("arguments", "folders"),
    [
        ([], []),
        (["+recipe=x"], []),
        (["--config-dir", "/a"], ["/a"]),
        (["--config-dir=/a", "-cd", "/b"], ["/a", "/b"]),
    ],
)
def test_folders_of_recipes_are_read_off_a_command_line(arguments: list[str], folders: list[str]) -> None:
    assert config_dirs(arguments) == [Path(folder) for folder in folders]
