"""Real runs of `main_ppo` over each model family: what vLLM sees with 32 frames is what the actor sees.

Random weights of the real architectures at a tiny size; a run takes two minutes where nothing else runs:
pytest -m slow tests/recipes/test_model_families.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from vsi_support.family_runs import SERVED, make_questions, train

pytest.importorskip("verl")  # whose plug-in lets transformers load where torchvision is a CUDA build

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(1800)]

CORRELATION = "training/rollout_actor_probs_pearson_corr"
MICRO = ("actor.ppo_micro", "ref.log_prob_micro", "rollout.log_prob_micro")
FAULTS = Path(__file__).parents[1] / "verl_vsi" / "sharing" / "faults"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms and rows."""
    return make_questions(tmp_path_factory.mktemp("rooms"))


def correlations(family: str, root: Path, folder: Path, *overrides: str, plug_in: str | None = None) -> list[float]:
    """Of the probabilities that vLLM and the actor give to the same tokens, in each of two steps."""
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_miniature"]
    command += ["data.max_prompt_length=1536", "data.max_response_length=16", "data.train_batch_size=2"]
    command += ["actor_rollout_ref.rollout.n=4", "actor_rollout_ref.rollout.max_num_batched_tokens=8192"]
    command += ["trainer.total_training_steps=2", "trainer.save_freq=-1", "trainer.val_before_train=false"]
    command += [f"actor_rollout_ref.{key}_batch_size_per_gpu=4" for key in MICRO]
    path = os.pathsep.join(filter(None, [str(FAULTS), os.environ.get("PYTHONPATH")]))
    more = {"PYTHONPATH": path, "VERL_USE_EXTERNAL_MODULES": plug_in} if plug_in else {}
    steps = train([*command, "vsi.checks.min_correlation=-1", *overrides], family, root, folder, **more)
    return [step[CORRELATION] for step in steps if CORRELATION in step]


@pytest.mark.parametrize("family", SERVED)
def test_rollout_and_actor_agree(family: str, root: Path, tmp_path: Path) -> None:
    both = correlations(family, root, tmp_path)
    assert len(both) == 2
    assert min(both) > 0.9999


@pytest.mark.parametrize("family", SERVED)
def test_rollout_and_actor_agree_with_lora(family: str, root: Path, tmp_path: Path) -> None:
    """In the second step vLLM has the adapter that the first one trained."""
    both = correlations(family, root, tmp_path, "vsi.lora.rank=8", "actor_rollout_ref.actor.optim.lr=1e-2")
    assert len(both) == 2
    assert min(both) > 0.9999


def test_rollout_and_actor_agree_with_verls_own_passes_and_rollouts(root: Path, tmp_path: Path) -> None:
    assert min(correlations("qwen2_vl", root, tmp_path, "passes=stock")) > 0.9999


def test_with_upstreams_positions_they_do_not(root: Path, tmp_path: Path) -> None:
    """The negative control: the run above would show the defect."""
    assert max(correlations("qwen2_vl", root, tmp_path, plug_in="upstream_positions")) < 0.999
