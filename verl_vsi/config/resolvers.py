"""OmegaConf resolvers of the recipes: what depends on the machine, and a little arithmetic.

They are resolved where the config is resolved, so each answers for that machine.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from verl_vsi.config.trainers import DPO, PPO, SFT
from verl_vsi.config.versions import vllm_version

METHODS = {PPO: "vsgrpo", SFT: "sft", DPO: "dpo"}
"""What a trainer's runs are called, as recipes are."""

PACKAGE = Path(__file__).parents[1]
VIDEO_FLAG_SINCE = (0, 28)
"""First vLLM whose video frames are normalised on the device unless told otherwise."""


def register() -> None:
    """Add ``vsi.*`` to OmegaConf's resolvers."""
    from omegaconf import OmegaConf

    resolvers = {
        "attention": attention,
        "remove_padding": has_flash_attn,
        "mm_device_do_normalize": mm_device_do_normalize,
        "package": package,
        "if_shared_passes": if_shared_passes,
        "if_shared_rollouts": if_shared_rollouts,
        "run_name": run_name,
        "update_tokens": update_tokens,
        "add": lambda a, b: a + b,
        "min": min,
    }
    for name, function in resolvers.items():
        OmegaConf.register_new_resolver(f"vsi.{name}", function, replace=True)


def has_flash_attn() -> bool:
    """Whether flash-attn is installed; verl's remove_padding needs it."""
    return find_spec("flash_attn") is not None


def attention() -> str:
    """The fastest attention that transformers can run here."""
    return "flash_attention_2" if has_flash_attn() else "sdpa"


def mm_device_do_normalize() -> bool | None:
    """vLLM's switch for its video path: False where it exists, None (not passed on) where it does not."""
    installed = vllm_version()
    return False if installed is not None and installed >= VIDEO_FLAG_SINCE else None


def package(path: str) -> str:
    """Absolute path of a folder that ships inside verl_vsi."""
    return str(PACKAGE / path)


def run_name(trainer: str, model: str, mode: str) -> str:
    """Name of a run whose recipe's own model was replaced.

    Args:
        trainer: verl module that runs it.
        model: the option of the slot `model`.
        mode: the paper's.
    """
    return f"{METHODS[trainer]}_{model}-{mode}"


def if_shared_passes(then: Any, otherwise: Any, *, _root_: Any) -> Any:
    """The first value where the run's settings allow shared training passes, the second where verl's own run.

    Args:
        then: value where they are shared.
        otherwise: value where not.
        _root_: the whole config, given by OmegaConf.
    """
    from verl_vsi.sharing.eligibility import why_upstream_passes

    return then if why_upstream_passes(_root_) is None else otherwise


def if_shared_rollouts(then: Any, otherwise: Any, *, _root_: Any) -> Any:
    """The first value where a question can be prepared once for all of its rollouts, else the second.

    Args:
        then: value where it can.
        otherwise: value where not.
        _root_: the whole config, given by OmegaConf.
    """
    from verl_vsi.sharing.eligibility import why_upstream_rollouts

    return then if why_upstream_rollouts(_root_) is None else otherwise


def update_tokens(*, _root_: Any) -> int:
    """Tokens of a micro-batch: an update keeps some 4.4 MB of activations a token at 7B where nothing is recomputed.

    Args:
        _root_: the whole config, given by OmegaConf.
    """
    return 4096 if _root_.vsi.backend == "megatron" else 16384
