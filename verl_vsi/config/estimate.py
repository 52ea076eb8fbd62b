"""What a recipe will take: tokens, memory, bytes and steps, from its settings alone; orders of magnitude."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from verl_vsi.config.access import row_files, video_tokens
from verl_vsi.config.model_shape import ModelShape, shape_of
from verl_vsi.sharing.eligibility import why_upstream_passes

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
    basis: str


@dataclass(frozen=True)
class Load:
    """The numbers of a recipe, PPO's and SFT's alike."""

    video_tokens: int
    response: int
    batch: int
    rollouts: int
    tokens: int
    """Of the largest micro-batch on one GPU, those that pass through the model."""
    spoken: int
    """Of these, those that get logits."""
    gpus: int
    passes: int
    """Times that the trainer reads a batch's pixels: old and reference log-probabilities, update."""
    shared: bool
    """Whether a question's rollouts share its prompt and its video (``passes=shared``, and nothing against it)."""

    @property
    def prompt(self) -> int:
        """Tokens of the longest usual prompt."""
        return self.video_tokens + TEXT_TOKENS

    @property
    def pixel_bytes(self) -> int:
        """One video as verl's own passes move it, in float32."""
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
    ours = _sft_load if OmegaConf.select(config, "actor_rollout_ref.actor") is None else _grpo_load
    return ours(config, tokens, config.trainer.n_gpus_per_node * config.trainer.nnodes)


def _sft_load(config: DictConfig, video: int, gpus: int) -> Load:
    """Answers of two words or a number."""
    response, batch = 16, config.data.train_batch_size
    computed = config.data.micro_batch_size_per_gpu * (video + TEXT_TOKENS + response)
    return Load(video, response, batch, 1, computed, computed, gpus, 1, shared=False)


def _grpo_load(config: DictConfig, video: int, gpus: int) -> Load:
    actor, n = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout.n
    response, batch = config.data.max_response_length, config.data.train_batch_size
    shared = why_upstream_passes(config) is None
    if shared:
        group, spoken = video + TEXT_TOKENS + n * response, n * response
        # whole groups up to the limit, and at least one
        groups = min(max(1, actor.ppo_max_token_len_per_gpu // group), -(-batch // gpus))
    else:
        group = spoken = video + TEXT_TOKENS + response
        groups = actor.ppo_micro_batch_size_per_gpu
    passes = 3 if actor.use_kl_loss else 2
    return Load(video, response, batch, n, groups * group, groups * spoken, gpus, passes, shared)


def count_rows(config: DictConfig) -> int:
    """Rows of the recipe's training files.

    Raises:
        ValueError: a file is not there.
    """
    import pyarrow.parquet as pq

    files = row_files(config, "train_files")
    if config.vsi.root is None and any(file.startswith("None/") for file in files):
        raise ValueError("vsi.root is not set, so there are no rows to count: export VSI_ROOT=FOLDER, or give --rows")
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


def _gpu(config: DictConfig, load: Load, shape: ModelShape) -> Iterator[Line]:
    full = config.vsi.lora.rank == 0
    weights = _weight_bytes(config, load, shape)
    trained = shape.parameters * 12 / load.gpus if full else 0.02 * shape.parameters * 16 / load.gpus
    logits, hidden = load.spoken * shape.vocabulary * 10, load.tokens * shape.hidden * shape.layers * 2
    yield Line("model", f"{shape.parameters / 1e9:.2f} B parameters", "language model and tower")
    yield Line(
        "GPU: weights", _gb(weights), "float32 over all GPUs (FSDP2), or bfloat16 over tensor parallel (Megatron)"
    )
    yield Line("GPU: gradients and Adam", _gb(trained), "all weights" if full else "LoRA, some 2% of the weights")
    yield Line("GPU: logits", _gb(logits), f"{load.spoken} tokens x {shape.vocabulary} x (bf16 + float32 + gradient)")
    yield Line("GPU: checkpointed activations", _gb(hidden), f"{load.tokens} tokens, one hidden state a layer")
    yield Line("GPU: training in all", _gb(weights + trained + logits + hidden), "per GPU, without fragmentation")
    if load.rollouts > 1:
        cache = (load.prompt + load.response) * shape.kv_width * shape.layers * 2
        share = config.actor_rollout_ref.rollout.gpu_memory_utilization
        yield Line("GPU: vLLM", f"{share:.0%} of it", "rollout.gpu_memory_utilization; given back while training")
        yield Line("GPU: keys and values", f"{cache / 1e6:.0f} MB a response", "bfloat16, prompt shared by a group")


def _weight_bytes(config: DictConfig, load: Load, shape: ModelShape) -> float:
    if config.vsi.backend == "megatron":
        return shape.parameters * 2 / config.vsi.hardware.tensor_parallel
    return shape.parameters * 4 / load.gpus


def _bytes(config: DictConfig, load: Load, videos: int) -> Iterator[Line]:
    video = config.vsi.frames.nframes * config.vsi.frames.max_pixels * 3
    if load.shared:
        step, how = load.batch * video, "uint8, once a question, in Ray's object store"
        moved = "mapped by vLLM, and read from the store by each pass; TransferQueue carries names"
    else:
        step, how = load.batch * load.rollouts * load.pixel_bytes, "float32, for every response, in TransferQueue"
        moved = f"written once, read {load.passes} times"
    offload = config.vsi.hardware.offload
    yield Line("disk: frames", _gb(videos * video), f"{videos} videos, uint8, decoded once, read by memory map")
    yield Line("host: pixels of a step", _gb(step), f"{how}, spread over the nodes")
    yield Line("moved a step", _gb(step * (1 + load.passes)), moved)
    yield Line(
        "host: a node",
        _gb(step / config.trainer.nnodes + _offloaded(config, load)),
        "pixels" + (" and offloaded weights" * offload),
    )


def _offloaded(config: DictConfig, load: Load) -> float:
    if not config.vsi.hardware.offload:
        return 0.0
    return shape_of(str(config.vsi.model)).parameters * 4 / config.trainer.nnodes


def _gb(count: float) -> str:
    return f"{count / _GB:.1f} GB" if count >= 0.05 * _GB else f"{count / 1e6:.1f} MB"
