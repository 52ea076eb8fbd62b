"""The CPU is chosen as verl is imported, from the command and the machine; the composed config may say otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from verl_vsi import cpu
from verl_vsi.checks.problem import Problem
from verl_vsi.cpu.choice import NEW_CLUSTER, PLATFORM_VARIABLE


def check_platform(config: DictConfig) -> Iterator[Problem]:
    """A driver without a GPU does not train on its CPU what is meant for a cluster's GPUs, or for its own."""
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
