"""Every recipe with every option of its slots composes, has only keys that verl knows, and makes verl's dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import combinations, product
from pathlib import Path
from typing import IO, Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_yaml_loader

from verl_vsi.config import recipes
from verl_vsi.config.access import ENGINE_GROUPS
from verl_vsi.config.recipes import Composer
from verl_vsi.preflight.recipe_keys import unknown_keys

WHERE = recipes.folders()
NAMES = {recipe.name: recipe.trainer for recipe in recipes.recipes(WHERE)}
GRPO = sorted(name for name, trainer in NAMES.items() if trainer == "verl.trainer.main_ppo")
SFT = sorted(name for name, trainer in NAMES.items() if trainer in ("verl.trainer.sft_trainer", "verl_vsi.dpo"))

MODES, BACKENDS, HARDWARE, ABLATIONS, PASSES, MODELS = (
    recipes.options(group, WHERE) for group in ("mode", "backend", "hardware", "ablation", "passes", "model")
)
SFT_ABLATIONS = ("full_tuning", "published_data")
"""Those that are not about GRPO; the others are refused at the start (test_startup.py)."""


def slots(names: list[str], backend: str, ablations: Sequence[str]) -> dict[str, list[str]]:
    """Words of a command, and their options."""
    none_or_one = ["[]", *(f"[{ablation}]" for ablation in ablations)]
    return {"": names, "mode=": MODES, backend: BACKENDS, "hardware=": HARDWARE, "ablation=": none_or_one}


GRPO_SLOTS = {**slots(GRPO, "backend=", ABLATIONS), "passes=": PASSES}
SFT_SLOTS = slots(SFT, "backend/sft=", SFT_ABLATIONS)


def every(slots: dict[str, list[str]]) -> list[str]:
    """All commands: the product of the slots."""
    return [" ".join(words) for words in product(*([f"{slot}{o}" for o in os] for slot, os in slots.items()))]


def pairwise(slots: dict[str, list[str]]) -> list[str]:
    """Few commands in which every two options of two slots meet: the product takes minutes to compose."""
    left = {pair for command in every(slots) for pair in combinations(command.split(), 2)}
    chosen = []
    while left:
        best = max(every(slots), key=lambda command: len(left & set(combinations(command.split(), 2))))
        chosen.append(best)
        left -= set(combinations(best.split(), 2))
    return chosen


@pytest.mark.parametrize("command", pairwise(GRPO_SLOTS))
def test_grpo_recipe_with_options(compose: Composer, command: str) -> None:
    check_grpo(compose, command)


@pytest.mark.parametrize("command", pairwise(SFT_SLOTS))
def test_sft_recipe_with_options(compose: Composer, command: str) -> None:
    check_sft(compose, command)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_whole_product(
    compose: Composer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half an hour on one core: pytest -m slow tests/recipes/test_every_recipe.py"""
    monkeypatch.setattr(OmegaConf, "load", staticmethod(load_parsed_once))
    failures = []
    for check, slots in ((check_grpo, GRPO_SLOTS), (check_sft, SFT_SLOTS)):
        for command in every(slots):
            try:
                check(compose, command)
            except Exception as error:  # all of them are to be known, not the first
                failures.append(f"{command}: {type(error).__name__}: {error}")
            capsys.readouterr()  # verl prints a line a config
    assert not failures, "\n".join(failures)


@cache
def parsed(text: str) -> Any:
    return yaml.load(text, Loader=get_yaml_loader())


def load_parsed_once(file: IO[str]) -> Any:
    """OmegaConf.load, with each file parsed once: Hydra reads some thirty at every composition, in pure Python."""
    return OmegaConf.create(parsed(file.read()) or {})


@pytest.mark.parametrize("model", MODELS)
def test_another_model(compose: Composer, model: str) -> None:
    check_grpo(compose, f"vsgrpo_2b model={model}")
    check_sft(compose, f"sft_2b model/sft={model}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_recipe_with_every_model(compose: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OmegaConf, "load", staticmethod(load_parsed_once))
    for name, model in product(GRPO, MODELS):
        check_grpo(compose, f"{name} model={model}")
    for name, model in product(SFT, MODELS):
        check_sft(compose, f"{name} model/sft={model}")


def test_both_slots_have_the_same_models() -> None:
    assert recipes.options("model/sft", WHERE) == MODELS


@pytest.mark.parametrize(
    "command",
    ["vsgrpo_2b model=qwen3_vl_4b mode=think", "vsgrpo_2b mode=think ablation=[no_kl] model=qwen3_vl_4b"],
)
def test_a_model_comes_in_whatever_the_order(compose: Composer, command: str) -> None:
    config = resolved(compose, command)
    assert config.actor_rollout_ref.model.path == "Qwen/Qwen3-VL-4B-Instruct"
    assert config.actor_rollout_ref.rollout.max_model_len == 1408 + 1024
    assert (config.vsi.frames.patch_size, config.vsi.frames.max_pixels) == (16, 128 * 32 * 32)
    assert config.trainer.experiment_name == "vsgrpo_qwen3_vl_4b-think"


def test_a_model_leaves_sft_its_own_values(compose: Composer) -> None:
    config = resolved(compose, "dpo_2b model/sft=qwen2_5_vl_7b")
    assert (config.model.path, config.optim.lr) == ("Qwen/Qwen2.5-VL-7B-Instruct", 5e-6)
    assert config.trainer.experiment_name == "dpo_qwen2_5_vl_7b-vanilla"


def test_several_ablations_at_once(compose: Composer) -> None:
    config = compose.recipe("vsgrpo_2b mode=think ablation=[no_kl,loose_format,length_reward]")
    assert config.actor_rollout_ref.actor.use_kl_loss is False
    assert config.vsi.reward.format == "r1v"
    assert config.vsi.reward.terms == {"accuracy": 1.0, "format": 1.0, "length": 1.0}


def test_no_group_carries_a_name_of_verls() -> None:
    import verl.trainer.config

    verls = {path.name for path in Path(verl.trainer.config.__path__[0]).iterdir() if path.is_dir()}
    ours = {path.name for path in WHERE[0].iterdir() if path.is_dir()}
    # verl's `model` lies under other packages in main_ppo; under the SFT trainer it does not, so the slot is model/sft
    # verl's `model` lies under other packages in main_ppo; under the SFT trainer it does not, so the slot is model/sft
    assert ours & verls == {"model"}
    assert ours - {"scripts", "__pycache__"} == {"recipe", "model", "mode", "backend", "hardware", "ablation", "passes"}
    assert ours - {"scripts", "__pycache__"} == {"recipe", "model", "mode", "backend", "hardware", "ablation", "passes"}


def check_grpo(compose: Composer, command: str) -> None:
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    config = resolved(compose, command)
    validate_config(config, use_reference_policy=config.actor_rollout_ref.actor.use_kl_loss, use_critic=False)
    rollout = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    assert rollout.max_model_len == config.data.max_prompt_length + config.data.max_response_length, command
    # not `reward`: verl 0.9.1 cannot make its own RewardManagerConfig from it (super() has no __post_init__)
    for node in (config.actor_rollout_ref.actor, _as_the_worker_does(config.actor_rollout_ref), config.algorithm):
        omega_conf_to_dataclass(node)


def _as_the_worker_does(node: DictConfig) -> DictConfig:
    """The reference's keys renamed as in verl/workers/engine_workers.py before it makes the dataclass."""
    ref = node.ref.copy()
    ref.ppo_mini_batch_size = node.actor.ppo_mini_batch_size
    for new, old in (
        ("ppo_micro_batch_size", "log_prob_micro_batch_size"),
        ("ppo_micro_batch_size_per_gpu", "log_prob_micro_batch_size_per_gpu"),
        ("use_dynamic_bsz", "log_prob_use_dynamic_bsz"),
        ("ppo_max_token_len_per_gpu", "log_prob_max_token_len_per_gpu"),
    ):
        ref[new] = ref.pop(old)
    return ref


def check_sft(compose: Composer, command: str) -> None:
    from verl.utils.config import omega_conf_to_dataclass

    config = resolved(compose, command)
    for node in (config.engine, config.optim, config.checkpoint, config.profiler):
        omega_conf_to_dataclass(node)


@lru_cache(maxsize=8)
def bare(compose: Composer, trainer: str, *engine: str | None) -> DictConfig:
    choices = dict(zip(ENGINE_GROUPS, engine, strict=True))
    return compose.bare(OmegaConf.create({"vsi": {"trainer": trainer}, "hydra": {"runtime": {"choices": choices}}}))


def resolved(compose: Composer, command: str) -> DictConfig:
    """What the trainer sees, after its keys were held against verl's."""
    config = compose.recipe(command)
    choices = config.hydra.runtime.choices
    known = bare(compose, config.vsi.trainer, *(choices.get(group) for group in ENGINE_GROUPS))
    assert not unknown_keys(config, known), command
    plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    OmegaConf.resolve(plain)
    return plain
