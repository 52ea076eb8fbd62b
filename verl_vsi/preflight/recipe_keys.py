"""Keys that verl does not know: a recipe that misspells one changes nothing, silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_vsi.config.access import engine_choices
from verl_vsi.config.problems import Problem

OURS = ("vsi", "hydra", "data.vsi")
"""Nodes that are this plug-in's or Hydra's."""

FREE = ("vllm", "override_config", "reward_kwargs", "agent", "ray_init", "runtime_env")
"""Nodes that verl hands on to something else, whatever they hold."""


def check_keys(config: DictConfig, config_name: str | None) -> list[Problem]:
    """Keys that verl would ignore, against verl's own config with the same engine.

    Args:
        config: as Hydra composed it in this process.
        config_name: of verl's primary config.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    hydra = GlobalHydra.instance().hydra
    if hydra is None or config_name is None:
        return []
    choices = engine_choices(config.hydra.runtime.choices)
    bare = hydra.compose_config(config_name, choices, RunMode.RUN, from_shell=False, with_log_configuration=False)
    keys = unknown_keys(config, bare, added_by_hand(config.hydra.overrides.task))
    return [
        Problem(f"{config.vsi.trainer} has no setting {key}", "correct the recipe: such a key changes nothing")
        for key in keys
    ]


def unknown_keys(config: DictConfig, bare: DictConfig, added: Sequence[str] = ()) -> list[str]:
    """Dotted keys of a composed recipe that verl neither lists nor has as a field.

    Args:
        config: the recipe, composed.
        bare: verl's own config with the same engine, composed without the recipe.
        added: keys that the user added by hand (``+a.b=1``): meant, so not a typo.
    """
    return [key for key in _unknown(_plain(config), _plain(bare), "") if not _under(key, (*OURS, *added))]


def added_by_hand(overrides: Sequence[str]) -> list[str]:
    """Keys of ``+key=value`` overrides."""
    return [o.lstrip("+").partition("=")[0] for o in overrides if o.startswith("+")]


def _unknown(node: Mapping[str, Any], known: Mapping[str, Any], prefix: str) -> Iterator[str]:
    fields = _fields(known.get("_target_"))
    for name, value in node.items():
        key = f"{prefix}{name}"
        if name in FREE:
            continue
        if name not in known and name not in fields:
            yield key
        # an empty node of verl's takes anything
        elif isinstance(value, Mapping) and isinstance(known.get(name), Mapping) and known[name]:
            yield from _unknown(value, known[name], f"{key}.")


def _fields(target: str | None) -> set[str]:
    """Fields of the dataclass that verl makes of a node: some are settable and not listed in verl's YAML."""
    if not target:
        return set()
    from hydra.utils import get_class

    return set(getattr(get_class(target), "__dataclass_fields__", {}))


def _under(key: str, roots: Sequence[str]) -> bool:
    return any(key == root or key.startswith(f"{root}.") for root in roots)


def _plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=False)  # pyright: ignore[reportReturnType]
