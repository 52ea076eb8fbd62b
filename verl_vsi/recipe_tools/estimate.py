"""What a recipe will take: tokens, memory, bytes and steps, from its settings alone; orders of magnitude."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from verl_vsi.checks.files import row_files
from verl_vsi.checks.settings import video_tokens
from verl_vsi.recipe_tools.shape import Shape, shape_of

TEXT_TOKENS = 120
"""A question with the longest mode prompt and the chat template, in Qwen2-VL's tokens, rounded up."""
PATCH_BYTES = 3 * 2 * 14 * 14 * 4
"""One patch of pixels as verl keeps it: float32, two frames of 14x14."""
PATCHES_A_TOKEN = 4
_GB = 1e9


@dataclass(frozen=True)
class Line:
    """One figure of an estimate."""

    what: str
    amount: str
    reckoned: str


@dataclass(frozen=True)
class Load:
    """The numbers of a recipe, PPO's and SFT's alike."""

    video_tokens: int
    response: int
    batch: int
    rollouts: int
    micro_batch: int
    gpus: int
    passes: int
    """Times that the trainer reads a batch's pixels: old and reference log-probabilities, update."""

    @property
    def prompt(self) -> int:
        """Tokens of the longest usual prompt."""
        return self.video_tokens + TEXT_TOKENS

    @property
    def pixel_bytes(self) -> int:
        """One video as the trainer moves it."""
        return self.video_tokens * PATCHES_A_TOKEN * PATCH_BYTES


def estimate(config: DictConfig, rows: int | None, videos: int) -> list[Line]:
    """All figures.

    Args:
        config: a composed recipe.
        rows: rows to train on; None to count them in the recipe's parquet.
        videos: distinct videos that the rows are about.

    Raises:
        ValueError: rows are not given and not there; frames go by seconds; the model is unknown.
    """
    load, shape = load_of(config), shape_of(str(config.vsi.model))
    rows = count_rows(config) if rows is None else rows
    return [
        *_tokens(load),
        *_steps(config, load, rows),
        *_gpu(config, load, shape),
        *_bytes(config, load, videos),
    ]


def load_of(config: DictConfig) -> Load:
    """Read a recipe's numbers.

    Raises:
        ValueError: frames go by seconds, so a video's tokens depend on its length.
    """
    tokens = video_tokens(config)
    if tokens is None:
        raise ValueError("vsi.frames.nframes is null: with frames by the second a video's tokens depend on its length")
    actor = OmegaConf.select(config, "actor_rollout_ref.actor")
    gpus = config.trainer.n_gpus_per_node * config.trainer.nnodes
    if actor is None:
        response = 16
        return Load(tokens, response, config.data.train_batch_size, 1, config.data.micro_batch_size_per_gpu, gpus, 1)
    return Load(
        video_tokens=tokens,
        response=config.data.max_response_length,
        batch=config.data.train_batch_size,
        rollouts=config.actor_rollout_ref.rollout.n,
        micro_batch=actor.ppo_micro_batch_size_per_gpu,
        gpus=gpus,
        passes=3 if actor.use_kl_loss else 2,
    )


def count_rows(config: DictConfig) -> int:
    """Rows of the recipe's training files.

    Raises:
        ValueError: a file is not there.
    """
    import pyarrow.parquet as pq

    files = row_files(config, "train_files")
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise ValueError(f"{missing[0]} is not there to count its rows: give --rows")
    return sum(pq.read_metadata(file).num_rows for file in files)


def _tokens(load: Load) -> Iterator[Line]:
    yield Line("prompt", f"{load.prompt} tokens", f"{load.video_tokens} video at most, about {TEXT_TOKENS} text")
    yield Line("response", f"at most {load.response} tokens", "the mode's budget")


def _steps(config: DictConfig, load: Load, rows: int) -> Iterator[Line]:
    epoch = rows // load.batch
    total = config.trainer.total_training_steps or epoch * config.trainer.total_epochs
    yield Line("steps an epoch", f"{epoch}", f"{rows} rows / {load.batch} a batch")
    yield Line("steps", f"{total}", "trainer.total_training_steps, or all epochs")
    yield Line("responses a step", f"{load.batch * load.rollouts}", f"{load.batch} questions x {load.rollouts}")


def _gpu(config: DictConfig, load: Load, shape: Shape) -> Iterator[Line]:
    full = config.vsi.lora.rank == 0
    weights = _weight_bytes(config, load, shape)
    trained = shape.parameters * 12 / load.gpus if full else 0.02 * shape.parameters * 16 / load.gpus
    tokens = load.micro_batch * (load.prompt + load.response)
    logits, hidden = tokens * shape.vocabulary * 10, tokens * shape.hidden * shape.layers * 2
    yield Line("model", f"{shape.parameters / 1e9:.2f} B parameters", "language model and tower")
    yield Line(
        "GPU: weights", _gb(weights), "float32 over all GPUs (FSDP2), or bfloat16 over tensor parallel (Megatron)"
    )
    yield Line("GPU: gradients and Adam", _gb(trained), "all weights" if full else "LoRA, some 2% of the weights")
    yield Line("GPU: logits", _gb(logits), f"{tokens} tokens x {shape.vocabulary} x (bf16 + float32 + gradient)")
    yield Line("GPU: checkpointed activations", _gb(hidden), "one hidden state a layer and token")
    yield Line("GPU: training in all", _gb(weights + trained + logits + hidden), "per GPU, without fragmentation")
    if load.rollouts > 1:
        cache = (load.prompt + load.response) * shape.kv_width * shape.layers * 2
        share = config.actor_rollout_ref.rollout.gpu_memory_utilization
        yield Line("GPU: vLLM", f"{share:.0%} of it", "rollout.gpu_memory_utilization; given back while training")
        yield Line("GPU: keys and values", f"{cache / 1e6:.0f} MB a response", "bfloat16, prompt shared by a group")


def _weight_bytes(config: DictConfig, load: Load, shape: Shape) -> float:
    if config.vsi.backend == "megatron":
        return shape.parameters * 2 / config.vsi.hardware.tensor_parallel
    return shape.parameters * 4 / load.gpus


def _bytes(config: DictConfig, load: Load, videos: int) -> Iterator[Line]:
    frames = config.vsi.frames
    store = videos * frames.nframes * frames.max_pixels * 3
    step = load.batch * load.rollouts * load.pixel_bytes
    nodes = config.trainer.nnodes
    yield Line("disk: frames", _gb(store), f"{videos} videos, uint8, decoded once, read by memory map")
    yield Line("host: pixels of a step", _gb(step), "float32 for every response, spread over the nodes' TransferQueue")
    yield Line("moved a step", _gb(step * (1 + load.passes)), f"written once, read {load.passes} times")
    offload = config.vsi.hardware.offload
    yield Line(
        "host: a node", _gb(step / nodes + _offloaded(config, load)), "pixels" + (" and offloaded weights" * offload)
    )


def _offloaded(config: DictConfig, load: Load) -> float:
    if not config.vsi.hardware.offload:
        return 0.0
    return shape_of(str(config.vsi.model)).parameters * 4 / config.trainer.nnodes


def _gb(count: float) -> str:
    return f"{count / _GB:.1f} GB" if count >= 0.05 * _GB else f"{count / 1e6:.1f} MB"
