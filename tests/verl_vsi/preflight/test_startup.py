"""What stops a run before Ray, what is said, and that all of it is shown at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import DictConfig, OmegaConf

from verl_vsi.config.problems import Problem, explain
from verl_vsi.config.recipes import Composer
from verl_vsi.data_adapters.rows import make_row, write_rows
from verl_vsi.data_adapters.schema import Question
from verl_vsi.preflight import settings as settings_checks
from verl_vsi.preflight import statements
from verl_vsi.preflight.inputs import check_root, check_rows
from verl_vsi.preflight.model import check_model
from verl_vsi.preflight.recipe_keys import added_by_hand, unknown_keys
from verl_vsi.preflight.resume import changes
from verl_vsi.preflight.rows import check_leakage, check_truths
from verl_vsi.preflight.startup import problems
from verl_vsi.preflight.statements import kl_statement, remarks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with one row of a training scan and one to validate on."""
    for split in ("train", "val"):
        write_scene_rows(tmp_path, split, "scene0000_00")
    return tmp_path


def write_scene_rows(root: Path, split: str, scene: str) -> None:
    question = Question("object_counting", "How many chair(s)in the room?", "3", "number", scene)
    row = make_row(question, dataset="scannet", video=f"scannet/{scene}.mp4", data_source="vsi100k", split=split)
    write_rows(root / "rows" / f"{split}.parquet", [row], {"source": "test"})


@pytest.fixture
def miniature(compose: Composer, root: Path, tmp_path: Path) -> DictConfig:
    """A recipe with nothing wrong."""
    run = tmp_path / "run"
    return compose.recipe(["vsgrpo_miniature", f"vsi.root={root}", f"trainer.default_local_dir={run}"])


def test_a_good_recipe_has_no_problem(miniature: DictConfig) -> None:
    assert problems(miniature) == []


def test_a_fresh_machine_is_told_of_vsi_root_first(compose: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VSI_ROOT", raising=False)
    first, *others = problems(compose.recipe("vsgrpo_7b"))
    assert "vsi.root is not set" in first.what
    assert "export VSI_ROOT=" in first.fix
    assert not [p for p in others if "parquet" in p.what], "rows under no root are not a second problem"


def test_a_root_that_is_no_folder(miniature: DictConfig) -> None:
    miniature.vsi.root = "/nowhere/at/all"
    assert [p.what for p in check_root(miniature)] == ["vsi.root=/nowhere/at/all is not a folder"]


def test_missing_rows_are_named_with_the_key_to_set(miniature: DictConfig, root: Path) -> None:
    (root / "rows" / "val.parquet").unlink()
    (problem,) = check_rows(miniature)
    assert "val.parquet" in problem.what
    assert "vsi.data.val=" in problem.fix


def test_a_model_folder_without_config(miniature: DictConfig, tmp_path: Path) -> None:
    miniature.vsi.model = str(tmp_path)
    (problem,) = check_model(miniature)
    assert "config.json" in problem.what


def test_a_hub_model_that_is_not_cached_and_may_not_be_fetched(
    miniature: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    miniature.vsi.model = "nobody/nothing"
    (problem,) = check_model(miniature)
    assert "HF_HUB_OFFLINE" in problem.what
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert not list(check_model(miniature)), "with a network verl fetches it"


def test_a_video_that_does_not_fit_the_prompt(miniature: DictConfig) -> None:
    assert settings_checks.video_tokens(miniature) == 32
    miniature.data.max_prompt_length = 95
    (problem,) = settings_checks.check_budget(miniature)
    assert "32 tokens" in problem.what
    miniature.data.max_prompt_length = 96
    assert not list(settings_checks.check_budget(miniature))


def test_megatron_without_its_bridge_names_the_way_back(compose: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose.recipe("vsgrpo_7b")
    monkeypatch.setattr(settings_checks, "find_spec", lambda name: None)
    (problem,) = settings_checks.check_megatron(config)
    assert "megatron.bridge" in problem.what
    assert "backend=fsdp2" in problem.fix
    (problem,) = settings_checks.check_megatron(compose.recipe("sft_7b backend/sft=megatron"))
    assert "backend/sft=fsdp2" in problem.fix
    monkeypatch.setattr(settings_checks, "find_spec", lambda name: name)
    assert not list(settings_checks.check_megatron(config))


def test_lora_with_dummy_weights_would_hang(compose: Composer) -> None:
    config = compose.recipe("vsgrpo_2b actor_rollout_ref.rollout.load_format=dummy")
    assert "hangs" in next(iter(settings_checks.check_lora(config))).what
    assert not list(settings_checks.check_lora(compose.recipe("vsgrpo_2b")))


def test_a_reward_that_looks_for_another_modes_tag(compose: Composer) -> None:
    config = compose.recipe("vsgrpo_2b mode=think reward.custom_reward_function.reward_kwargs.tag=observe")
    assert [p for p in settings_checks.check_rewards(config) if "think" in p.what and "observe" in p.what]


@pytest.mark.parametrize("mode", ["vanilla", "think", "observe"])
@pytest.mark.parametrize("ablation", ["", "loose_format", "length_reward", "numeric_mra", "numeric_exact"])
def test_golden_scores_hold_in_every_mode(compose: Composer, mode: str, ablation: str) -> None:
    assert not list(settings_checks.check_rewards(compose.recipe(f"vsgrpo_2b mode={mode} ablation=[{ablation}]")))


@pytest.mark.parametrize(("scene", "why"), [("scene0025_01", "scene of VSI-Bench"), ("scene0011_01", "val scan")])
def test_scenes_that_leak_among_the_rows(miniature: DictConfig, root: Path, scene: str, why: str) -> None:
    assert not list(check_leakage(miniature))
    write_scene_rows(root, "train", scene)
    (problem,) = check_leakage(miniature)
    assert scene in problem.what
    assert why in problem.what
    miniature.vsi.data.published = True
    assert not list(check_leakage(miniature))


def test_a_scene_that_only_the_video_names_leaks_too(miniature: DictConfig, root: Path) -> None:
    table = pq.read_table(root / "rows" / "train.parquet").to_pylist()
    table[0]["videos"], table[0]["extra_info"]["scene_id"] = ["scannet/SCENE0025_01.mp4"], "my_room"
    pq.write_table(pa.Table.from_pylist(table), root / "rows" / "train.parquet")
    (problem,) = check_leakage(miniature)
    assert "scene0025_01: scene of VSI-Bench" in problem.what


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"reward_model": {"style": "rule", "ground_truth": "nan"}}, "'nan' is not a number"),
        ({"reward_model": {"style": "rule", "ground_truth": None}}, "must be a text"),
        ({"videos": []}, "1 marks <video> for 0 videos"),
    ],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_rows_that_no_reward_could_score(
    miniature: DictConfig, root: Path, split: str, changes: dict[str, Any], why: str
) -> None:
    assert not list(check_truths(miniature))
    file = root / "rows" / f"{split}.parquet"
    rows = pq.read_table(file).to_pylist()
    pq.write_table(pa.Table.from_pylist([rows[0], rows[0] | changes, rows[0]]), file)
    (problem,) = check_truths(miniature)
    assert f"{file}: 1 rows can't be scored" in problem.what
    assert "row 1: " in problem.what
    assert why in problem.what


def test_a_resumed_run_may_go_on_longer() -> None:
    before = {"trainer": {"total_training_steps": 20}, "data": {"vsi": {"root": "/a"}, "seed": 1}}
    now = {"trainer": {"total_training_steps": 40}, "data": {"vsi": {"root": "/b"}, "seed": 2}}
    assert changes(before, now) == ["data.seed: 1 -> 2"]


def test_a_typo_is_found_and_free_nodes_are_free() -> None:
    known = OmegaConf.create({"trainer": {"save_freq": 1}, "rollout": {"engine_kwargs": {"vllm": {}}, "free": {}}})
    config = OmegaConf.create(
        {
            "trainer": {"safe_freq": 2},
            "rollout": {"engine_kwargs": {"vllm": {"x": 1}}, "free": {"y": 1}},
            "vsi": {"z": 1},
            "mine": {"a": 1},
        }
    )
    assert unknown_keys(config, known) == ["trainer.safe_freq", "mine"]
    assert unknown_keys(config, known, added_by_hand(["+mine.a=1", "+mine=1"])) == ["trainer.safe_freq"]


def test_a_field_of_verls_dataclass_that_its_yaml_leaves_out_is_known() -> None:
    known = OmegaConf.create({"_target_": "verl.workers.config.RolloutConfig", "n": 1})
    assert unknown_keys(OmegaConf.create({"enable_sleep_mode": False, "enable_sleepmode": 1}), known) == [
        "enable_sleepmode"
    ]


def test_an_ablation_of_grpo_under_sft_is_unknown(compose: Composer) -> None:
    config = compose.recipe("sft_2b ablation=[no_kl]")
    assert unknown_keys(config, compose.bare(config)) == ["actor_rollout_ref"]


KL = [
    ("vsgrpo_2b", "KL: in the loss, low_var_kl (k3, ref/pi - log(ref/pi) - 1), coefficient 0.0001"),
    ("vsgrpo_2b ablation=[no_kl]", "KL: off, in the loss and in the reward (the paper has 0.0001)"),
    (
        "vsgrpo_2b ablation=[no_kl] algorithm.use_kl_in_reward=true",
        "KL: in the reward, kl (k1, log(pi/ref)), coefficient 0.001 (fixed)",
    ),
    ("sft_2b", ""),
]


@pytest.mark.parametrize(("command", "said"), KL)
def test_kl_is_said_in_full(compose: Composer, command: str, said: str) -> None:
    assert kl_statement(compose.recipe(command)) == said


def test_what_a_gpu_run_without_flash_attn_says(compose: Composer, monkeypatch: pytest.MonkeyPatch) -> None:

    config = compose.recipe("vsgrpo_2b")
    monkeypatch.setattr(statements, "has_flash_attn", lambda: False)
    assert [line for line in remarks(config) if "flash-attn is not installed" in line]
    monkeypatch.setattr(statements, "has_flash_attn", lambda: True)
    assert not [line for line in remarks(config) if "flash-attn" in line]


def test_all_problems_are_shown_at_once() -> None:
    text = explain([Problem("a is missing", "get a"), Problem("b is wrong", "mend b")])
    assert text.splitlines() == [
        "verl-vsi: 2 problems; nothing was started (docs, 'Troubleshooting').",
        "1. a is missing",
        "   -> get a",
        "2. b is wrong",
        "   -> mend b",
    ]


@pytest.mark.parametrize(("backend", "first"), [("megatron", True), ("fsdp2", False)])
def test_the_first_line_says_what_has_not_run_on_a_gpu(compose: Composer, backend: str, first: bool) -> None:
    lines = list(remarks(compose.recipe(f"vsgrpo_7b backend={backend}")))
    assert ("have not been run yet" in lines[0]) is first
