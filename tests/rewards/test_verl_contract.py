"""verl itself loads the reward, calls it, sends it to Ray's workers and averages what it returns."""

from __future__ import annotations

import asyncio
import logging
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl")

import torch
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from verl import DataProto
from verl.trainer.ppo.metric_utils import process_validation_metrics
from verl.trainer.ppo.reward import get_custom_reward_fn, load_reward_manager

from verl_vsi.rewards.terms import accuracy, format_, length

GOOD = "<think>one, two, four</think><answer>4</answer>"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that spells every text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(["<pad>", "<eos>", *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    raw.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")


@pytest.fixture
def config() -> DictConfig:
    return OmegaConf.create(
        {
            "reward": {
                "custom_reward_function": {
                    "path": "pkg://verl_vsi.rewards.vsgrpo",
                    "name": "compute_score",
                    "reward_kwargs": {"terms": {"accuracy": 1.0, "format": 1.0}, "tag": "think", "modules": []},
                },
                "reward_manager": {"source": "register", "name": "naive"},
            }
        }
    )


def row(tokenizer: PreTrainedTokenizerFast, response: str, source: str, truth: str, **info: Any) -> DataProto:
    """One finished rollout as verl's agent loop hands it to the reward manager, padded on the right."""
    ids = [*tokenizer.encode(response), tokenizer.eos_token_id, 0, 0]
    mask = [1] * (len(ids) - 2) + [0, 0]
    tensors = {"responses": torch.tensor([ids]), "attention_mask": torch.tensor([[1, 1, *mask]])}
    rest = {"data_source": source, "reward_model": {"style": "rule", "ground_truth": truth}, "extra_info": info}
    return DataProto(
        batch=TensorDict(tensors, batch_size=1),
        non_tensor_batch={key: np.array([value], dtype=object) for key, value in rest.items()},
    )


def score(config: DictConfig, tokenizer: PreTrainedTokenizerFast, *rollout: str, **info: Any) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        return await load_reward_manager(config, tokenizer).run_single(row(tokenizer, *rollout, **info))

    return asyncio.run(run())


def test_verls_reward_manager_scores_a_rollout(config: DictConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    result = score(config, tokenizer, GOOD, "vsi100k/object_counting", "4", task="object_counting", kind="number")
    assert result["reward_score"] == 2.0
    assert result["reward_extra_info"]["acc"] == 1.0
    assert result["reward_extra_info"]["reward/format"] == 1.0


@pytest.mark.parametrize("response", ["", "🪑 vier", "<think>", "٣"])
def test_verls_reward_manager_scores_any_rollout(
    config: DictConfig, tokenizer: PreTrainedTokenizerFast, response: str
) -> None:
    result = score(
        config, tokenizer, response, "vsi100k/object_rel_distance", "sink", options=np.array([], dtype=object)
    )
    assert result["reward_score"] == 0.0


def test_verl_averages_every_part_per_task(config: DictConfig, tokenizer: PreTrainedTokenizerFast) -> None:
    rollouts = [
        (GOOD, "vsi100k/object_counting", "4"),
        ("no idea", "vsi100k/object_counting", "4"),
        ("<think>I turn</think><answer>left</answer>", "vsi100k/object_rel_direction_easy", "left"),
    ]
    infos = [score(config, tokenizer, *rollout)["reward_extra_info"] for rollout in rollouts]
    columns = {key: [info[key] for info in infos] for key in infos[0]}
    metrics = process_validation_metrics([source for _, source, _ in rollouts], ["a", "b", "c"], columns)
    counting = metrics["vsi100k/object_counting"]
    for part in ("acc", "reward/accuracy", "reward/format", "parse_failure", "format_failure"):
        assert counting[part]["mean@1"] == 0.5, part
    assert metrics["vsi100k/object_rel_direction_easy"]["acc"]["mean@1"] == 1.0


def test_the_reward_pickles(config: DictConfig) -> None:
    reward = pickle.loads(pickle.dumps(get_custom_reward_fn(config)))
    assert reward("vsi100k/object_counting", GOOD, "4", {})["score"] == 2.0
    for function in (accuracy, format_, length):
        assert pickle.loads(pickle.dumps(function)) is function


def test_the_reward_runs_in_a_ray_worker(config: DictConfig) -> None:
    import ray

    ray.init(num_cpus=1, include_dashboard=False, logging_level=logging.ERROR)
    try:
        call: Any = ray.remote(lambda reward: reward("vsi100k/object_counting", GOOD, "4", {})["score"])  # type: ignore
        assert ray.get(call.remote(get_custom_reward_fn(config))) == 2.0
    finally:
        ray.shutdown()
