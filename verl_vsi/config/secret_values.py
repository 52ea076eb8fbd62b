"""Secrets, kept out of every record: values whose names say so, values that look so, and those of the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_vsi.data_adapters.files import write_text

MASK = "***"
"""What a record holds in a secret's place."""

_VARIABLE = re.compile(r"(^|_)(KEY|KEYS|TOKEN|SECRET|SECRETS|PASSWORD|PASSWD|PASS|CREDENTIALS?|AUTH)($|_)", re.I)
"""Names of environment variables that hold one."""
_SETTING = re.compile(
    r"(^|_)(api_?key|secret|password|passwd|credentials?|(auth|access|hub|hf|bearer)_?token)s?$|^token$", re.I
)
"""Last parts of keys that hold one; verl's `prompt_key`, `pad_token_id` and the like do not."""
_LOOK = re.compile(r"\b(hf_\w{16,}|sk-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|AKIA\w{12,}|xox[abp]-[\w-]{10,})")
"""Tokens of Hugging Face, OpenAI, GitHub, AWS and Slack."""
_SHORTEST = 8
"""Characters from which a variable's value is looked for in texts."""


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name holds a secret."""
    return _VARIABLE.search(name) is not None


def is_secret_setting(key: str) -> bool:
    """Whether a setting of this dotted key holds a secret; capitals are taken for an environment variable."""
    last = key.rpartition(".")[2].lstrip("+~")
    return is_secret_variable(last) if last.isupper() else _SETTING.search(last) is not None


def mask_text(text: str, env: Mapping[str, str] = os.environ) -> str:
    """A text without what looks like a secret, and without the values of the environment's secrets.

    Args:
        text: any.
        env: whose secrets are looked for.
    """
    values = {value for name, value in env.items() if is_secret_variable(name) and len(value) >= _SHORTEST}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MASK)
    return _LOOK.sub(MASK, text)


def mask_override(word: str) -> str:
    """A word of a command line such as ``+a.api_key=x``, its value masked where it is secret."""
    key, sign, _ = word.partition("=")
    return f"{key}={MASK}" if sign and is_secret_setting(key) else mask_text(word)


def mask_tree(node: Any, key: str = "") -> Any:
    """Nested settings with every secret masked, also in lists of overrides.

    Args:
        node: of dicts, lists and values.
        key: its own key.
    """
    if isinstance(node, Mapping):
        return {name: mask_tree(value, str(name)) for name, value in node.items()}
    if isinstance(node, list):
        return [mask_tree(value, key) for value in node]
    if isinstance(node, str) and node:
        return MASK if is_secret_setting(key) else mask_override(node)
    return node


def mask_hydra_files(config: DictConfig) -> None:
    """Mask the secrets in what Hydra has written of a run (`.hydra/*.yaml`); files without any stay as they are.

    Args:
        config: composed, with its `hydra` node.
    """
    hydra = config.hydra
    if hydra.output_subdir is None:
        return
    for file in (Path(hydra.runtime.output_dir) / hydra.output_subdir).glob("*.yaml"):
        plain: Any = OmegaConf.to_container(OmegaConf.load(file))
        masked = mask_tree(plain)
        if masked == plain:
            continue
        if "hydra" in masked:  # the overrides once more, joined
            masked["hydra"]["job"]["override_dirname"] = MASK
        write_text(file, OmegaConf.to_yaml(OmegaConf.create(masked)))
