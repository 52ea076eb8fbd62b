"""Every key under `vsi`: its type, its range and what it means, in one place.

Checked before a run starts, whoever wrote the recipe; the reference of keys in the docs is drawn from it. What a key
does is told by the docstring below it; its value in a recipe, and whether that is the paper's, stands in the recipe.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class _Node(BaseModel):
    """Strict: no text for a number, no infinity, no key that is not listed."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Data(_Node):
    """Files of rows."""

    train: str | list[str]
    """Parquet files to train on."""
    val: str | list[str]
    """Parquet files to validate on."""
    published: bool
    """Scenes of the benchmark may be among the training scenes: it is only said, not refused."""


class Frames(_Node):
    """Which frames of a video the model sees, and how large."""

    sampler: Literal["qwen", "linspace"]
    """`qwen`: qwen_vl_utils' rule; `linspace`: VSI-Bench's."""
    nframes: Annotated[int, Field(ge=2)] | None
    """Frames of a video; null: by `fps`."""
    fps: Positive | None
    """Frames a second of video (sampler `qwen` only); null: `nframes`."""
    min_frames: Annotated[int, Field(ge=2)] = 4
    """Lower bound where `fps` decides."""
    max_frames: Annotated[int, Field(ge=2)] = 768
    """Upper bound where `fps` decides."""
    min_pixels: Count
    """Lower bound of a frame's pixels."""
    max_pixels: Count
    """Upper bound of a frame's pixels."""
    total_pixels: Count | None = None
    """Upper bound over the frames of a video."""
    patch_size: Annotated[int, Field(ge=1, le=64)] = 14
    """Side of the vision tower's patch, in pixels."""
    decoder: Literal["pyav", "torchcodec"]
    """Library that decodes."""
    on_error: Literal["raise", "skip", "quarantine"]
    """What to do about a video that can't be decoded."""
    timeout: Positive
    """Seconds that decoding one video may take."""
    memory: Positive
    """GiB that decoding one video may take."""
    store: str
    """Folder of the frame store."""

    @model_validator(mode="after")
    def _fit_together(self) -> Frames:
        if (self.nframes is None) == (self.fps is None):
            raise ValueError("set one of nframes and fps, and the other to null")
        if self.sampler == "linspace" and self.nframes is None:
            raise ValueError("sampler=linspace takes nframes, not fps")
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels={self.min_pixels} is over max_pixels={self.max_pixels}")
        if self.min_frames > self.max_frames:
            raise ValueError(f"min_frames={self.min_frames} is over max_frames={self.max_frames}")
        return self


class Lora(_Node):
    """LoRA's size."""

    rank: Annotated[int, Field(ge=0)]
    """0: full tuning."""
    alpha: Positive
    """Adapters are scaled by alpha / rank."""


class Checks(_Node):
    """What is watched while a run trains."""

    min_correlation: Annotated[float, Field(ge=-1, le=1)]
    """Least correlation of rollout and actor probabilities in the first step."""
    constant_steps: Count
    """Steps without any change in a reward term before the run says so."""
    sample_questions: Count | None = None
    """Questions a step whose answers are written to `trainer.rollout_data_dir`; null: all of them."""


class Mode(_Node):
    """The paper's modes: prompts, tags, the length of a response."""

    name: Literal["vanilla", "think", "observe"]
    """Mode T, O or V of the paper."""
    tag: Literal["think", "observe"] | None
    """Tag of a response's first block; null: no format reward."""
    train_prompt: str
    """Text behind a question in training."""
    eval_prompt: str
    """Text behind a question in the paper's prompting study."""
    response_length: Count
    """Most tokens of a response."""
    format: bool = True
    """Whether the format term counts."""


class Reward(_Node):
    """How a response is scored; see `verl-vsi rewards list`."""

    terms: dict[str, Annotated[float, Field()]]
    """Weight of each reward term; the score is the weighted sum."""
    numeric: str
    """Score of a number: min_relative, inverse, mra or exact."""
    extraction: str
    """How an answer is read: robust, lmms_eval or official."""
    format: str
    """Format check: strict or r1v."""
    length_cap: Count
    """Characters at which the length term is full."""
    modules: list[str]
    """Python modules with reward terms of one's own."""


class Engine(_Node):
    """Options of the shared passes."""

    freeze_tower: bool
    """The vision tower is not trained, and its features are computed once a video."""
    feature_cache_gib: Annotated[float, Field(ge=0)]
    """Host memory of each engine for remembered features, in GiB."""
    shadow: bool
    """verl's own passes run too, and metrics say how far apart they are."""


class Dpo(_Node):
    """The DPO baseline."""

    beta: Positive
    """Strength of the implicit KL constraint (arXiv 2305.18290, equation 7)."""


class Hardware(_Node):
    """A machine, as `hardware=` names it."""

    nnodes: Count
    """Machines."""
    n_gpus_per_node: Count
    """GPUs of each."""
    device: Literal["cuda", "npu", "cpu"]
    """What trains and samples."""
    dtype: Literal["bfloat16", "float16", "float32"]
    """vLLM's."""
    param_dtype: Literal["bf16", "fp16", "fp32"]
    """Of the training passes."""
    tensor_parallel: Count
    """Megatron's, in training."""
    rollout_tensor_parallel: Count
    """vLLM's."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)]
    """Share of a GPU's memory that vLLM takes."""
    sleep_mode: bool
    """vLLM gives its memory back while training."""
    enforce_eager: bool
    """vLLM goes without CUDA graphs."""
    torch_compile: bool
    """The actor's entropy and the FSDP2 engine are compiled."""
    offload: bool
    """Weights and optimizer wait in host memory."""
    ray_cpus: Count | None
    """CPUs that Ray takes the machine for; null: as many as there are."""
    ray_gpus: Count | None
    """GPUs that Ray takes the machine for; null: as many as there are."""
    kv_cache_bytes: Count | None
    """vLLM's KV cache; null: by `gpu_memory_utilization`."""


class Vsi(_Node):
    """What is ours in a recipe."""

    trainer: str
    """verl module that runs the recipe."""
    root: str | None
    """Folder of videos, rows and frames; VSI_ROOT."""
    model: str
    """Name on the Hugging Face hub, or a folder."""
    seed: Annotated[int, Field(ge=0)]
    """Of the data order and of sampling; with `passes=stock` sampling is verl's own, and does not repeat."""
    data: Data
    frames: Frames
    lora: Lora
    checks: Checks
    mode: Mode
    hardware: Hardware
    backend: Literal["fsdp2", "megatron"]
    """Training engine."""
    passes: Literal["shared", "stock"] | None = None
    """`shared`: a question's video and prompt once for all of its rollouts; `stock`: verl's own."""
    reward: Reward | None = None
    engine: Engine | None = None
    dpo: Dpo | None = None
    lr_schedule: str | None = None
    """SFT's and DPO's learning rate schedule, by verl's name."""


def fields_of(path: list[str]) -> list[str]:
    """Names of the keys of a node.

    Args:
        path: of the node below `vsi`, such as ``["frames"]``; empty for `vsi` itself.
    """
    node: Any = Vsi
    for part in path:
        node = _group(node.model_fields[part])
    return list(node.model_fields)


def meanings(node: Any = Vsi, prefix: str = "vsi") -> dict[str, str]:
    """Dotted key -> what it means, in the order of the schema; groups are left out.

    Args:
        node: a group of keys.
        prefix: its own dotted key.
    """
    keys: dict[str, str] = {}
    for name, field in node.model_fields.items():
        group = _group(field)
        keys |= meanings(group, f"{prefix}.{name}") if group else {f"{prefix}.{name}": field.description or ""}
    return keys


def _group(field: Any) -> Any:
    """The group of keys that a field holds; None where it holds a value."""
    kinds = getattr(field.annotation, "__args__", (field.annotation,))
    return next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
