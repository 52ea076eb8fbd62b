"""The composed values against what the paper states (arXiv 2504.00883v2; section 3 and its table of settings)."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from verl_vsi.config.recipes import Composer, settings

PAPER = {
    # stated
    "algorithm.adv_estimator": "grpo",
    "algorithm.norm_adv_by_std_in_grpo": True,
    "algorithm.use_kl_in_reward": False,
    "actor_rollout_ref.actor.use_kl_loss": True,
    "actor_rollout_ref.actor.kl_loss_type": "low_var_kl",
    "actor_rollout_ref.actor.kl_loss_coef": 1e-4,
    "actor_rollout_ref.rollout.n": 14,
    "actor_rollout_ref.rollout.temperature": 1.0,
    # inferred from R1-V, on which the authors built
    "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-mean",
    "actor_rollout_ref.actor.ppo_epochs": 1,
    "vsi.reward.numeric": "min_relative",
    "vsi.reward.terms.accuracy": 1.0,
    "vsi.reward.terms.format": 1.0,
    # ours, and never otherwise by accident
    "actor_rollout_ref.rollout.top_p": 1.0,
    "actor_rollout_ref.rollout.top_k": -1,
    "actor_rollout_ref.rollout.load_format": "safetensors",
    "actor_rollout_ref.rollout.val_kwargs.do_sample": False,
    "reward.custom_reward_function.path": "pkg://verl_vsi.rewards.vsgrpo",
    "data.custom_cls.name": "VsiDataset",
}
MODELS = {
    "vsgrpo_2b": ("Qwen/Qwen2-VL-2B-Instruct", 1e-5, "fsdp2"),
    "vsgrpo_7b": ("Qwen/Qwen2-VL-7B-Instruct", 5e-6, "megatron"),
}
PROMPTS = {
    "vanilla": "Please provide the short answer with one or two words or a number.",
    "think": (
        "Please think step by step and enclose your thinking process in <think> </think> tags and then provide the "
        "short answer with one or two words or a number in <answer> </answer>."
    ),
    "observe": (
        "Please observe carefully and analyze what you see that helps you to solve the question in the video and "
        "enclose it in <observe> </observe> tag, and then provide the short answer with one or two words or a number "
        "in <answer> </answer>."
    ),
}
EVAL_PROMPTS = {
    "vanilla": "Please answer the question using a single word or phrase.",
    "think": "Let's think step by step and then answer the question using a single word or phrase.",
    "observe": "Please observe the video first and then answer the question using a single word or phrase.",
}


@pytest.mark.parametrize("recipe", ["vsgrpo_2b", "vsgrpo_7b", "vsgrpo_miniature"])
def test_the_papers_settings(compose: Composer, recipe: str) -> None:
    composed = settings(compose.recipe(recipe))
    assert {key: composed[key] for key in PAPER} == PAPER
    on_policy = "actor_rollout_ref.actor.ppo_mini_batch_size"
    assert composed[on_policy] == composed["data.train_batch_size"], "one update a batch"


@pytest.mark.parametrize("recipe", MODELS)
def test_model_learning_rate_and_backend(compose: Composer, recipe: str) -> None:
    config = compose.recipe(recipe)
    actor_rollout_ref = config.actor_rollout_ref
    composed = (actor_rollout_ref.model.path, actor_rollout_ref.actor.optim.lr, config.vsi.backend)
    assert composed == MODELS[recipe]


@pytest.mark.parametrize("mode", PROMPTS)
def test_prompts_are_the_papers_word_for_word(compose: Composer, mode: str) -> None:
    config = compose.recipe(f"vsgrpo_2b mode={mode}")
    assert config.data.vsi.mode.train_prompt == PROMPTS[mode]
    assert config.data.vsi.mode.eval_prompt == EVAL_PROMPTS[mode]
    assert config.vsi.mode.format is (mode != "vanilla")
    assert config.reward.custom_reward_function.reward_kwargs.tag == (None if mode == "vanilla" else mode)
    assert config.data.max_response_length == config.vsi.mode.response_length


@pytest.mark.parametrize("backend", ["fsdp2", "megatron"])
def test_lora_spares_the_tower(compose: Composer, backend: str) -> None:
    model = compose.recipe(f"vsgrpo_2b backend={backend}").actor_rollout_ref.model
    if backend == "fsdp2":
        assert (model.lora_rank, model.lora_alpha, model.exclude_modules) == (64, 128, ".*visual.*")
    else:
        assert (model.lora.rank, model.lora.alpha, model.lora.freeze_vision_model) == (64, 128, True)


ABLATIONS = {
    "no_kl": ("actor_rollout_ref.actor.use_kl_loss", False),
    "loose_format": ("reward.custom_reward_function.reward_kwargs.format", "r1v"),
    "length_reward": ("reward.custom_reward_function.reward_kwargs.terms.length", 1.0),
    "token_mean": ("actor_rollout_ref.actor.loss_agg_mode", "token-mean"),
    "numeric_mra": ("reward.custom_reward_function.reward_kwargs.numeric", "mra"),
    "numeric_inverse": ("reward.custom_reward_function.reward_kwargs.numeric", "inverse"),
    "numeric_exact": ("reward.custom_reward_function.reward_kwargs.numeric", "exact"),
    "full_tuning": ("actor_rollout_ref.model.lora_rank", 0),
    "published_data": ("data.train_files", "/d/rows/published.parquet"),
    "absent_objects": ("data.train_files", "/d/rows/absent.parquet"),
}


@pytest.fixture(scope="module")
def without(compose: Composer) -> dict[str, Any]:
    return settings(compose.recipe("vsgrpo_2b vsi.root=/d"))


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_reaches_verls_own_key(compose: Composer, without: dict[str, Any], ablation: str) -> None:
    key, value = ABLATIONS[ablation]
    assert settings(compose.recipe(f"vsgrpo_2b vsi.root=/d ablation=[{ablation}]"))[key] == value
    assert without.get(key) != value


def test_every_ablation_is_in_this_table() -> None:
    from verl_vsi.config import recipes

    assert set(recipes.options("ablation", recipes.folders())) == set(ABLATIONS)


def test_arguments_in_any_order_give_one_config(compose: Composer) -> None:
    from hydra import compose as hydra_compose

    words = ["+recipe=vsgrpo_7b", "mode=think", "ablation=[no_kl]", "backend=fsdp2", "hardware=2x8"]
    rotations = [words[i:] + words[:i] for i in range(len(words))]
    composed = {
        OmegaConf.to_yaml(hydra_compose("ppo_trainer", overrides=order), sort_keys=True)
        for order in [*rotations, words[::-1]]
    }
    assert len(composed) == 1
    assert "use_kl_loss: false" in composed.pop()


def test_the_miniature_is_small_and_whole(compose: Composer) -> None:
    config = compose.recipe("vsgrpo_miniature")
    assert config.trainer.logger == ["file", "tensorboard"], "no wandb unless asked"
    assert config.vsi.hardware.device == "cpu"
    assert config.actor_rollout_ref.model.path.endswith("verl_vsi/miniature/base")
    assert config.trainer.resume_mode == "auto"
    assert config.trainer.save_freq > 0
    assert config.trainer.test_freq > 0
