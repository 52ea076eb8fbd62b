"""A CPU that was chosen before the config was composed, against what the config says."""

from __future__ import annotations

import pytest

from verl_vsi import cpu
from verl_vsi.config.recipes import Composer
from verl_vsi.cpu.platform_choice import Choice
from verl_vsi.preflight.settings import check_platform

BY_ITSELF = Choice(True, "no accelerator and no Ray cluster was found")
ASKED = Choice(True, "VERL_PLATFORM=cpu", asked=True)
ADDRESS = "+ray_kwargs.ray_init.address="


CASES = [
    # a YAML of the user's may name the cluster, where the command does not
    (BY_ITSELF, f"vsgrpo_2b {ADDRESS}ray://head:10001", "export VERL_PLATFORM=nvidia"),
    (BY_ITSELF, f"vsgrpo_miniature {ADDRESS}auto", "VERL_PLATFORM=cpu if you mean the CPU"),
    (BY_ITSELF, f"vsgrpo_miniature {ADDRESS}local", ""),
    (BY_ITSELF, "vsgrpo_miniature", ""),
    (BY_ITSELF, "vsgrpo_2b hardware=one_gpu", "hardware=cpu"),
    (BY_ITSELF, "vsgrpo_2b hardware=cpu", ""),
    (BY_ITSELF, "sft_2b", "hardware=cpu"),
    (ASKED, f"vsgrpo_miniature {ADDRESS}auto", ""),
    (ASKED, "vsgrpo_2b", "hardware=cpu"),
    (Choice(False, "there is an accelerator (/dev/nvidia0)"), f"vsgrpo_2b {ADDRESS}auto", ""),
]


@pytest.mark.parametrize(("choice", "command", "fix"), CASES)
def test_a_cpu_that_the_config_did_not_mean(
    compose: Composer, monkeypatch: pytest.MonkeyPatch, choice: Choice, command: str, fix: str
) -> None:
    monkeypatch.setattr(cpu, "CHOSEN", [choice])
    problems = list(check_platform(compose.recipe(command)))
    assert len(problems) == bool(fix)
    assert not problems or fix in problems[0].fix


def test_the_choice_of_this_process_is_remembered() -> None:
    import verl  # noqa: F401  (opens the plug-in)

    assert cpu.CHOSEN
