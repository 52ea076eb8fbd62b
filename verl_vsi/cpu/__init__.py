"""verl's trainer on a machine without an accelerator: a platform, and what torch, vLLM and verl need beside it.

Nothing here acts outside a run of ours, where an accelerator is present, or where a Ray cluster may have one
(`platform_choice`); `VERL_PLATFORM=cpu` asks for it anywhere.
"""

from __future__ import annotations

import os
import sys

from verl_vsi import patches
from verl_vsi.cpu.platform_choice import PLATFORM_VARIABLE, Choice, Surroundings, choose, find_accelerator
from verl_vsi.run_mark import named_recipes

DEFAULTS = {
    # vLLM's sampler would compile C++ by inductor on the first generation: 22 s against 0.3 s, for no gain here.
    "TORCHDYNAMO_DISABLE": "1",
    # Ray remembers 100,000 tasks for its dashboard, 3.4 KB each (measured): a leak of 340 MB, to all appearances.
    "RAY_task_events_max_num_task_in_gcs": "10000",
}
"""Environment variables of a CPU run; what the user has set stays. Child processes inherit them."""

HIDDEN = "CUDA_VISIBLE_DEVICES"

CHOSEN: list[Choice] = []
"""What `register` chose in this process; the start-up checks hold it against the composed config."""


def register() -> Choice:
    """Choose; if it is the CPU, put all of it to work, and let child processes (Ray, vLLM) choose the same.

    The platform itself is registered everywhere, and says that it is available only where it was chosen.
    """
    from verl_vsi.cpu import platform

    platform.register()
    choice = prepare()
    CHOSEN.append(choice)
    if choice.cpu:
        from verl_vsi.cpu import megatron_engine

        os.environ[PLATFORM_VARIABLE] = "cpu"
        platform.register_engines()
        megatron_engine.register()
        patches.install(patches.CPU)
        _sweep_in_driver()
    elif choice.unsure and named_recipes(sys.argv):  # workers and scripts stay quiet
        print(
            f"verl-vsi: the CPU platform was not chosen, because {choice.why}. "
            f"If this run should train on this machine's CPU, set {PLATFORM_VARIABLE}=cpu (and `ray stop` first)",
            file=sys.stderr,
            flush=True,
        )
    return choice


def prepare() -> Choice:
    """What a process needs that uses torchvision, transformers or vLLM without verl."""
    choice = choose(Surroundings.here())
    if choice.cpu:
        from verl_vsi.cpu import builds

        set_environment()
        builds.declare_torchvision_ops()
        builds.hide_cuda_builds()
        builds.answer_for_vllm()
    return choice


def set_environment() -> None:
    """Set the defaults; drop an empty CUDA_VISIBLE_DEVICES.

    People export it to hide GPUs, and Ray then refuses the one logical GPU that vLLM's replica asks it for.
    """
    if os.environ.get(HIDDEN) == "" and find_accelerator(Surroundings.here()) is None:
        del os.environ[HIDDEN]
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def _sweep_in_driver() -> None:
    """Workers and scripts leave shared memory alone."""
    if named_recipes(sys.argv):
        from pathlib import Path

        from verl_vsi.cpu.shm_cleanup import sweep

        sweep(Path("/dev/shm"), Path("/proc"))
