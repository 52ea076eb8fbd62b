from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from verl_vsi.config import resolvers


@pytest.mark.parametrize(
    ("version", "flag"),
    [((0, 27), None), ((0, 28), False), ((0, 31), False), ((1, 0), False), (None, None)],
)
def test_vllms_video_flag_goes_by_version(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int] | None, flag: bool | None
) -> None:
    monkeypatch.setattr(resolvers, "vllm_version", lambda: version)
    assert resolvers.mm_device_do_normalize() is flag


def test_vllms_cpu_build_is_found_under_its_own_name() -> None:
    assert resolvers.vllm_version() is not None


def test_without_flash_attn_attention_is_sdpa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers, "find_spec", lambda name: None)
    assert (resolvers.attention(), resolvers.has_flash_attn()) == ("sdpa", False)
    monkeypatch.setattr(resolvers, "find_spec", lambda name: name)
    assert (resolvers.attention(), resolvers.has_flash_attn()) == ("flash_attention_2", True)


def test_resolvers_answer_in_a_config() -> None:
    resolvers.register()
    config = OmegaConf.create(
        {"a": 3, "sum": "${vsi.add:${a},4}", "least": "${vsi.min:${a},4}", "base": "${vsi.package:miniature/base}"}
    )
    assert (config.sum, config.least) == (7, 3)
    assert Path(config.base).parent.name == "miniature"
