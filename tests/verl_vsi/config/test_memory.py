"""What `recipes estimate` says of memory: against arithmetic by hand, and against what is allocated on a CPU."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

os.environ["VERL_PLATFORM"] = "cpu"

pytest.importorskip("verl")  # whose plug-in lets transformers load where torchvision is a CUDA build

import torch
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import fsdp_engine, process_group
from vsi_support.live_memory import LiveMemory, tensor_bytes
from vsi_support.random_qwen2_vl import Sizes, random_model

from verl_vsi.config.estimate import estimate, fix, recipe_of
from verl_vsi.config.memory import CHUNK, CHUNK_LOGIT_BYTES, TOWER_KEEPS, Recipe, host_terms, training_terms
from verl_vsi.config.recipes import Composer
from verl_vsi.sharing import log_probs
from verl_vsi.sharing.log_probs import LogProbHead


def gigabytes(recipe: Recipe) -> dict[str, float]:
    terms = [*training_terms(recipe), *host_terms(recipe)]
    return {term.what: term.bytes / 1e9 for term in terms}


BY_HAND = [
    # 2.21e9 weights x 4 B; 1024 positions x 151,936 x 12 B where all 14,336 took 21.8 GB
    ("vsgrpo_2b hardware=one_gpu mode=think", {"weights": 9.1, "logits": 1.87, "checkpointed activations": 1.33}),
    # recompute is off: 28 layers x 2 groups of 1592 tokens x (6 x 3584 + 1024 + 3 x 18,944) x 2 B
    ("vsgrpo_7b", {"weights": 16.6, "activations": 14.15}),
    # weights and a reference in bf16, float32 gradients whole, Adam and master weights over 8 GPUs: 78.8 GB
    ("vsgrpo_7b ablation=[full_tuning]", {"weights": 16.6, "reference": 16.6, "gradients": 33.2, "Adam": 12.4}),
    # bf16 weights of eight vLLMs at sleep level 1; eight ranks that load float32
    ("vsgrpo_2b", {"vLLM asleep": 35.3, "while loading": 70.7}),
    ("vsgrpo_7b backend=fsdp2", {"vLLM asleep": 132.6, "while loading": 265.3}),
]


@pytest.mark.parametrize(("command", "expected"), BY_HAND)
def test_terms_are_those_of_arithmetic_by_hand(compose: Composer, command: str, expected: dict[str, float]) -> None:
    terms = gigabytes(recipe_of(compose.recipe(command)))
    assert {what: terms[what] for what in expected} == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("command", "capacity", "verdict", "remedy"),
    [
        ("vsgrpo_7b ablation=[full_tuning]", 80e9, "does not fit", "backend=fsdp2"),
        ("vsgrpo_7b", 80e9, "fits", ""),
        ("vsgrpo_2b hardware=one_gpu mode=think", 80e9, "fits", ""),
        ("vsgrpo_2b hardware=one_gpu mode=think", 4e9, "does not fit", ""),  # nothing helps
        ("vsgrpo_7b backend=fsdp2", 24e9, "does not fit", ""),  # vLLM's half can't hold its weights
        ("vsgrpo_7b ablation=[full_tuning] hardware=one_gpu", 80e9, "does not fit", "hardware=2x8 backend=fsdp2"),
    ],
)
def test_what_does_not_fit_is_said_with_the_setting_that_would(
    compose: Composer, command: str, capacity: float, verdict: str, remedy: str
) -> None:
    lines = estimate(compose.recipe(command), rows=9600, videos=10, capacity=capacity)
    assert lines[[line.what.startswith("GPU of") for line in lines].index(True)].amount.startswith(verdict)
    assert fix(compose.recipe, command.split(), capacity) == remedy


MID_SIZE = Sizes(hidden=256, feed_forward=1024, layers=4, heads=8, groups=2, vision_width=64, vocabulary=4096)


@pytest.mark.parametrize("sizes", [Sizes(), MID_SIZE], ids=["tiny", "mid-size"])
@pytest.mark.usefixtures("untouched_transformers")
@pytest.mark.parametrize("rank", [0, 8], ids=["full", "LoRA"])
def test_weights_gradients_and_adam_are_what_fsdp2_allocates(
    compose: Composer, tmp_path: Path, sizes: Sizes, rank: int
) -> None:
    random_model(sizes).save_pretrained(tmp_path)
    terms = gigabytes(recipe_of(compose.recipe(f"vsgrpo_miniature vsi.model={tmp_path} vsi.lora.rank={rank}")))
    with process_group():
        engine = fsdp_engine(tmp_path, lora_rank=rank, exclude_modules=".*visual.*")
        batch = engine_batch([SampleQuestion((5, 3))])
        with engine.train_mode():
            engine.optimizer.zero_grad()
            engine.forward_backward_batch(batch, ppo_loss(), forward_only=False)
            parameters = list(engine.module.parameters())
            allocated = {
                "weights": sum(map(tensor_bytes, parameters)),
                "gradients": sum(tensor_bytes(p.grad) for p in parameters if p.grad is not None),
            }
            engine.optimizer_step()
    states = engine.optimizer.state.values()
    allocated["Adam"] = sum(tensor_bytes(value) for state in states for name, value in state.items() if name != "step")
    assert {what: terms[what] * 1e9 for what in allocated} == pytest.approx(allocated, rel=0.15)


@pytest.mark.parametrize("sizes", [Sizes(), MID_SIZE], ids=["tiny", "mid-size"])
@pytest.mark.usefixtures("untouched_transformers")
def test_loading_holds_the_model_once_more(compose: Composer, tmp_path: Path, sizes: Sizes) -> None:
    random_model(sizes).save_pretrained(tmp_path)
    terms = gigabytes(recipe_of(compose.recipe(f"vsgrpo_miniature vsi.model={tmp_path}")))
    with process_group(), LiveMemory() as memory:
        fsdp_engine(tmp_path)
    assert (terms["while loading"] + terms["weights"]) * 1e9 == pytest.approx(memory.peak, rel=0.15)


ONE_QUESTION = SampleQuestion([100] * 6, text=50, grids=((4, 16, 16),))
"""902 tokens in shared passes, 256 of them of the video."""
AS_MANY_KEYS = Sizes(256, 1500, heads=8, groups=8, vision_width=64, vision_ratio=4, vocabulary=512)
"""torch's flash attention on a CPU repeats keys and values; with as many heads there is nothing to repeat."""


@pytest.mark.usefixtures("untouched_transformers")
@pytest.mark.parametrize("rank", [0, 8], ids=["full", "LoRA"])
@pytest.mark.parametrize("sizes", [Sizes(groups=4), AS_MANY_KEYS], ids=["tiny", "mid-size"])
def test_an_update_allocates_the_sum_of_the_terms(compose: Composer, tmp_path: Path, sizes: Sizes, rank: int) -> None:
    """With recomputed layers, as the recipes have them; beside weights and Adam, which are held above."""
    random_model(sizes).save_pretrained(tmp_path)
    recompute = "actor_rollout_ref.model.enable_gradient_checkpointing=true"
    recipe = recipe_of(compose.recipe(f"vsgrpo_miniature vsi.model={tmp_path} vsi.lora.rank={rank} {recompute}"))
    load = replace(recipe.load, video_tokens=256, rollouts=6, tokens=902, spoken=600, videos=1)
    before = {"weights", "reference", "Adam", "pixels"}  # on a CPU the batch's own pixels are taken
    expected = sum(term.bytes for term in training_terms(replace(recipe, load=load)) if term.what not in before)
    with process_group():
        engine = fsdp_engine(tmp_path, enable_gradient_checkpointing=True, lora_rank=rank, exclude_modules=".*visual.*")
        batch = engine_batch([ONE_QUESTION], calculate_entropy=False)
        with engine.train_mode(), LiveMemory() as memory:
            engine.optimizer.zero_grad()
            engine.forward_step(batch, ppo_loss(), False)[0].backward()
        # FSDP empties the storages of what it has gathered, which is no operator
        gathered = sum(map(tensor_bytes, engine.module.parameters()))
    assert expected == pytest.approx(memory.peak - gathered, rel=0.15)


@pytest.mark.usefixtures("untouched_transformers")
@pytest.mark.parametrize("sizes", [Sizes(tied=True), MID_SIZE], ids=["tiny", "mid-size"])
def test_megatrons_weights_are_those_of_its_model(compose: Composer, tmp_path: Path, sizes: Sizes) -> None:
    """megatron-core's own, in bfloat16; its optimizer and its gradients' buffers need a GPU."""
    pytest.importorskip("megatron.core")
    from megatron.core import parallel_state
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from vsi_support.megatron_core_model import core_model, without_gpu

    model = random_model(sizes)
    model.save_pretrained(tmp_path)
    terms = gigabytes(recipe_of(compose.recipe(f"vsgrpo_7b backend=megatron vsi.model={tmp_path}")))
    with process_group(), without_gpu():
        own = not parallel_state.model_parallel_is_initialized()  # by tests of Megatron in this process
        if own:
            parallel_state.initialize_model_parallel()
        spec = get_gpt_layer_local_spec(normalization="RMSNorm")
        built = core_model(model.config, spec, use_cpu_initialization=True, params_dtype=torch.bfloat16)
        if own:
            parallel_state.destroy_model_parallel()
    assert terms["weights"] * 1e9 == pytest.approx(2 * sum(p.numel() for p in built.parameters()), rel=0.15)


@pytest.mark.parametrize("positions", [CHUNK // 2, 3 * CHUNK])
def test_logits_take_a_chunk_however_many_positions_there_are(positions: int) -> None:
    assert log_probs._CHUNK == CHUNK
    layer = torch.nn.Linear(8, 4096, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    hidden = torch.randn(positions, 8, dtype=torch.bfloat16, requires_grad=True)
    with LiveMemory() as memory:
        outputs = LogProbHead(1.0, "metric")(layer, hidden, torch.zeros(positions, dtype=torch.long))
        outputs["log_probs"].sum().backward()
    assert memory.peak == pytest.approx(min(positions, CHUNK) * 4096 * CHUNK_LOGIT_BYTES, rel=0.15)


def test_a_layer_of_the_tower_keeps_what_is_counted() -> None:
    """Of Qwen2-VL, at its published width: what a second layer adds."""
    from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

    kept, patches = [], 1024
    for depth in (1, 2):
        config = Qwen2VLVisionConfig(depth=depth)
        tower, pixels = Qwen2VisionTransformerPretrainedModel(config).train(), torch.randn(patches, 3 * 2 * 14**2)
        with LiveMemory() as memory:
            tower(pixels, grid_thw=torch.tensor([[4, 16, 16]]))
            weights = memory.live
            features = tower(pixels, grid_thw=torch.tensor([[4, 16, 16]]))
        kept.append(memory.live - weights)
        del features
    assert (kept[1] - kept[0]) / (patches * 1280 * 4) == pytest.approx(TOWER_KEEPS, rel=0.05)
