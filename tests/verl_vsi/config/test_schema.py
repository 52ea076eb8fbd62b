"""What the schema of `vsi` refuses, and what it says then."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from verl_vsi.config import recipes
from verl_vsi.config.recipes import Composer
from verl_vsi.config.schema import fields_of, meanings
from verl_vsi.config.schema_check import check_node

pytest.importorskip("verl")


def node(compose: Composer, command: str) -> Any:
    return OmegaConf.to_container(compose.recipe(command).vsi, resolve=True)


def test_every_recipe_of_ours_fits(compose: Composer) -> None:
    for recipe in recipes.recipes(recipes.folders()):
        assert not list(check_node(node(compose, recipe.name))), recipe.name


BAD = [
    ("vsi.frames.nframes=abc", "vsi.frames.nframes=abc", "integer"),
    ("vsi.frames.nframes=1", "vsi.frames.nframes=1", "greater than or equal to 2"),
    ("vsi.frames.nframes=-1", "vsi.frames.nframes=-1", "greater than or equal to 2"),
    ("vsi.frames.nframes=4.5", "vsi.frames.nframes=4.5", "integer"),
    ("vsi.frames.nframes=true", "vsi.frames.nframes=True", "integer"),
    ("vsi.frames.sampler=lin", "vsi.frames.sampler=lin", "set vsi.frames.sampler to linspace"),
    ("vsi.frames.decoder=decord", "vsi.frames.decoder=decord", "torchcodec"),
    ("vsi.frames.on_error=ignore", "vsi.frames.on_error=ignore", "raise"),
    ("vsi.frames.max_pixels=null", "vsi.frames.max_pixels=None", "integer"),
    ("vsi.frames.max_pixels=1", "min_pixels=12544 is over max_pixels=1", "correct vsi.frames"),
    ("vsi.frames.timeout=nan", "vsi.frames.timeout=nan", "finite"),
    ("vsi.frames.timeout=inf", "vsi.frames.timeout=inf", "finite"),
    ("vsi.frames.timeout=0", "vsi.frames.timeout=0", "greater than 0"),
    ("+vsi.frames.total_pixels=-5", "vsi.frames.total_pixels=-5", "at least|greater than or equal to 1"),
    ("+vsi.frames.patch_size=0", "vsi.frames.patch_size=0", "greater than or equal to 1"),
    ("vsi.frames.fps=2", "one of nframes and fps", "correct vsi.frames"),
    ("vsi.frames=null", "vsi.frames=None", "take vsi.frames out"),
    ("vsi.data.published=no", "vsi.data.published=no", "boolean"),
    ("'vsi.data.published=\"false\"'", "vsi.data.published=false", "boolean"),
    ("vsi.checks.min_correlation=nan", "vsi.checks.min_correlation=nan", "finite"),
    ("vsi.checks.constant_steps=0", "vsi.checks.constant_steps=0", "greater than or equal to 1"),
    ("vsi.lora.rank=-1", "vsi.lora.rank=-1", "greater than or equal to 0"),
    ("vsi.seed=-1", "vsi.seed=-1", "greater than or equal to 0"),
    ("vsi.reward.terms.accuracy=high", "vsi.reward.terms.accuracy=high", "number"),
    ("vsi.hardware.gpu_memory_utilization=1.5", "gpu_memory_utilization=1.5", "less than or equal to 1"),
    ("+vsi.frams.nframes=8", "nothing reads vsi.frams", "did you mean vsi.frames?"),
    ("+vsi.reward.extracton=official", "nothing reads vsi.reward.extracton", "did you mean vsi.reward.extraction?"),
    ("+vsi.frames.wholly_new=1", "nothing reads vsi.frames.wholly_new", "known: sampler"),
]


@pytest.mark.parametrize(("override", "what", "fix"), BAD, ids=[case[0] for case in BAD])
def test_a_value_without_meaning_is_named_with_a_way_out(compose: Composer, override: str, what: str, fix: str) -> None:
    (problem, *more) = check_node(node(compose, f"vsgrpo_2b {override}"))
    assert not more
    assert what in problem.what
    assert any(part in problem.fix for part in fix.split("|"))


def test_a_missing_key_is_named(compose: Composer) -> None:
    plain = node(compose, "vsgrpo_2b")
    del plain["frames"]["max_pixels"]
    (problem,) = check_node(plain)
    assert problem.what == "vsi.frames.max_pixels is missing"


def test_all_problems_are_told_at_once(compose: Composer) -> None:
    plain = node(compose, "vsgrpo_2b vsi.seed=-1 vsi.frames.sampler=x +vsi.lorra.rank=3")
    assert len(list(check_node(plain))) == 3


@pytest.mark.parametrize(("path", "key"), [([], "frames"), (["frames"], "nframes"), (["reward"], "numeric")])
def test_fields_of_a_node_are_listed(path: list[str], key: str) -> None:
    assert key in fields_of(path)


def test_every_key_says_what_it_means() -> None:
    assert not [key for key, meaning in meanings().items() if not meaning.endswith(".")]
