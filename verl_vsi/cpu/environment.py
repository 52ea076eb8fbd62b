"""Environment variables of a CPU run; what the user has set stays. Child processes inherit them."""

from __future__ import annotations

import os

from verl_vsi.cpu.choice import Surroundings, find_accelerator

DEFAULTS = {
    # vLLM's sampler would compile C++ by inductor on the first generation: 22 s against 0.3 s, for no gain here.
    "TORCHDYNAMO_DISABLE": "1",
}

HIDDEN = "CUDA_VISIBLE_DEVICES"


def register() -> None:
    """Set the defaults; drop an empty CUDA_VISIBLE_DEVICES.

    People export it to hide GPUs, and Ray then refuses the one logical GPU that vLLM's replica asks it for.
    """
    if os.environ.get(HIDDEN) == "" and find_accelerator(Surroundings.here()) is None:
        del os.environ[HIDDEN]
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
