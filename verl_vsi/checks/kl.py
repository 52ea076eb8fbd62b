"""Where KL is, of which type, with what coefficient: said in full at the start of every run."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

ESTIMATORS = {
    "kl": "k1, log(pi/ref)",
    "k1": "k1, log(pi/ref)",
    "abs": "|log(pi/ref)|",
    "mse": "k2, log(pi/ref)^2 / 2",
    "k2": "k2, log(pi/ref)^2 / 2",
    "low_var_kl": "k3, ref/pi - log(ref/pi) - 1",
    "k3": "k3, ref/pi - log(ref/pi) - 1",
    "full": "over the whole vocabulary",
}
"""verl's names for KL estimators, in formulas."""


def statement(config: DictConfig) -> str:
    """One line; empty for a trainer without KL."""
    actor = OmegaConf.select(config, "actor_rollout_ref.actor")
    if actor is None:
        return ""
    parts = []
    if actor.use_kl_loss:
        parts.append(f"in the loss, {_named(actor.kl_loss_type)}, coefficient {actor.kl_loss_coef:g}")
    if config.algorithm.use_kl_in_reward:
        control = config.algorithm.kl_ctrl
        parts.append(
            f"in the reward, {_named(config.algorithm.kl_penalty)}, coefficient {control.kl_coef:g} ({control.type})"
        )
    return f"KL: {' and '.join(parts)}" if parts else "KL: off, in the loss and in the reward (the paper has 0.0001)"


def _named(kind: str) -> str:
    straight_through = " with a straight-through gradient" if kind.endswith("+") else ""
    name = kind.removesuffix("+")
    return f"{kind} ({ESTIMATORS[name]}{straight_through})" if name in ESTIMATORS else kind
