"""Settings that contradict each other or the machine, and would fail late or silently."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from verl_vsi import cpu
from verl_vsi.config.access import video_tokens
from verl_vsi.config.problems import Problem
from verl_vsi.config.versions import SUPPORTED_VERL, TESTED_VERL, is_supported_verl
from verl_vsi.cpu.platform_choice import NEW_CLUSTER, PLATFORM_VARIABLE
from verl_vsi.data_adapters.versions import installed_version
from verl_vsi.sharing.eligibility import why_upstream_passes

RAY_JOB_FOLDER = "_ray_pkg_"
"""In the working folder of a job that was submitted with --working-dir."""

ROOM_FOR_TEXT = 64
"""The shortest question with the shortest prompt of a mode and the chat template, in tokens, rounded down."""


def check_verl(config: DictConfig) -> Iterator[Problem]:
    """The installed verl is one that this package was made for: another has other keys, or other meanings."""
    found = installed_version("verl")
    if found is not None and not is_supported_verl(found):
        yield Problem(
            f"verl {found} is installed, and this package supports {SUPPORTED_VERL}",
            f"pip install 'verl=={TESTED_VERL}', or a verl-vsi that supports {found}",
        )


def check_budget(config: DictConfig) -> Iterator[Problem]:
    """A whole video and a question fit into the prompt: verl never cuts a prompt with a video, it raises."""
    key = "data.max_prompt_length" if "max_prompt_length" in config.data else "data.max_length"
    limit, needed = OmegaConf.select(config, key), video_tokens(config)
    if limit is not None and needed is not None and needed + ROOM_FOR_TEXT > limit:
        yield Problem(
            f"{key}={limit}, and {config.vsi.frames.nframes} frames of up to {config.vsi.frames.max_pixels} pixels "
            f"take {needed} tokens",
            f"set {key}={needed + 256} or more, or fewer vsi.frames.nframes or vsi.frames.max_pixels",
        )


def check_megatron(config: DictConfig) -> Iterator[Problem]:
    """Megatron is asked for and is installed."""
    if config.vsi.get("backend") != "megatron":
        return
    missing = [name for name in ("megatron.core", "megatron.bridge") if not _importable(name)]
    if missing:
        switch = "backend=fsdp2" if "actor_rollout_ref" in config else "backend/sft=fsdp2"
        yield Problem(
            f"backend=megatron needs {' and '.join(missing)}, which this Python does not have",
            f"add {switch} to the command, or install Megatron-Bridge (docs, 'On a node'; verl's images have it)",
        )


def check_lora(config: DictConfig) -> Iterator[Problem]:
    """LoRA's weight sync sends adapters only, so vLLM must load the base itself; else the run hangs."""
    model = OmegaConf.select(config, "actor_rollout_ref.model")
    if model is None or not model.lora_rank or model.lora.merge:
        return
    if config.actor_rollout_ref.rollout.load_format == "dummy":
        yield Problem(
            f"LoRA (rank {model.lora_rank}) with rollout.load_format=dummy hangs at the first weight sync",
            "set actor_rollout_ref.rollout.load_format=safetensors",
        )


def check_rewards(config: DictConfig) -> Iterator[Problem]:
    """Eight known answers score as they must under this run's reward settings."""
    function = OmegaConf.select(config, "reward.custom_reward_function")
    if function is None or function.path != "pkg://verl_vsi.rewards.vsgrpo":
        return
    from verl_vsi.rewards import selftest

    settings = OmegaConf.to_container(function.reward_kwargs, resolve=True)
    for failure in selftest.check(settings, config.vsi.mode.name):  # pyright: ignore[reportArgumentType]
        yield Problem(f"reward: {failure}", "`verl-vsi rewards try` explains a score term by term")


def check_passes(config: DictConfig) -> Iterator[Problem]:
    """`vsi.engine.freeze_tower` and `vsi.engine.shadow` are done by the shared passes only."""
    if OmegaConf.select(config, "vsi.engine") is None:
        return
    asked = [f"vsi.engine.{name}" for name in ("freeze_tower", "shadow") if config.vsi.engine[name]]
    reason = why_upstream_passes(config) if asked else None
    if reason is not None:
        yield Problem(
            f"{' and '.join(asked)} would do nothing: training passes are verl's own, because {reason}",
            f"take {' and '.join(asked)} out, or run on backend=fsdp2 or megatron without what is named",
        )


def check_outputs(config: DictConfig) -> Iterator[Problem]:
    """Where workers have other folders than the command, paths are absolute: checkpoints would be lost, silently."""
    elsewhere = (
        "Ray runs this job in a folder of its own, and deletes it"
        if RAY_JOB_FOLDER in str(Path.cwd())
        else f"workers of {config.trainer.nnodes} nodes have other working folders"
        if config.trainer.nnodes > 1
        else ""
    )
    for key in ("trainer.default_local_dir", "vsi.root"):
        folder = OmegaConf.select(config, key)
        if elsewhere and folder is not None and not Path(folder).is_absolute():
            yield Problem(f"{key}={folder} is relative, and {elsewhere}", f"set {key} to a folder that every node sees")


def check_platform(config: DictConfig) -> Iterator[Problem]:
    """A driver without a GPU does not train on its CPU what is meant for a cluster's GPUs, or for its own.

    The CPU is chosen as verl is imported, from the command and the machine; the composed config may say otherwise.
    """
    choice = cpu.CHOSEN[-1] if cpu.CHOSEN else None
    if choice is None or not choice.cpu:
        return
    address = OmegaConf.select(config, "ray_kwargs.ray_init.address")
    if address not in NEW_CLUSTER and not choice.asked:
        yield Problem(
            f"ray_kwargs.ray_init.address={address} names a Ray cluster, which may have accelerators, and the CPU was "
            f"chosen for this run, because {choice.why} here",
            f"export {PLATFORM_VARIABLE}=nvidia (or your accelerator's platform), or {PLATFORM_VARIABLE}=cpu if you "
            "mean the CPU",
        )
    elif config.vsi.hardware.device != "cpu":
        yield Problem(
            f"hardware={config.hydra.runtime.choices.get('hardware')} is for {config.vsi.hardware.device}, and this "
            f"run is on the CPU: {choice.why}",
            "add hardware=cpu to the command; where the accelerators are on other nodes, export "
            f"{PLATFORM_VARIABLE}=nvidia",
        )


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the parent package is absent
        return False
