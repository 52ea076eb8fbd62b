"""Memory of a GPU and of a node, term by term, from a recipe's settings: what is allocated, without fragmentation.

FSDP2 keeps weights, gradients and Adam's two moments in float32, cut over all ranks, and gathers a unit at a time.
Megatron keeps bfloat16 weights and float32 gradients whole (over tensor parallel), and cuts Adam's three float32
copies over the ranks. Activations per token and layer follow Korthikanti et al. (2022, arXiv:2205.05198), for grouped
keys and a gated MLP, with flash attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from verl_vsi.config.load import PATCH_BYTES, PATCHES_A_TOKEN, Load
from verl_vsi.config.model_shape import ModelShape

CHUNK = 1024
"""Answer positions that get logits at a time in shared passes (`verl_vsi.sharing.log_probs`)."""
CHUNK_LOGIT_BYTES = 12
"""Of a logit: its logarithm, its probability and their product, float32, as the entropy is computed."""
TOWER_KEEPS = 23
"""Widths of numbers that a layer of Qwen2-VL's tower keeps of a patch for its backward pass; Qwen3-VL's keeps 18.5."""
LOGIT_BYTES = 10
"""In verl's own passes: bf16, float32 and its gradient."""


@dataclass(frozen=True)
class Term:
    """Part of a GPU's memory.

    Attributes:
        what: its name.
        bytes: its size.
        basis: what it follows from.
        generating: whether it stays on the GPU while vLLM generates.
    """

    what: str
    bytes: float
    basis: str
    generating: bool = False


@dataclass(frozen=True)
class Recipe:
    """A recipe's numbers, its model's shape, and the settings that memory depends on."""

    config: DictConfig
    load: Load
    shape: ModelShape

    @property
    def megatron(self) -> bool:
        """Whether the backend is Megatron."""
        return self.config.vsi.backend == "megatron"

    @property
    def ppo(self) -> bool:
        """Whether there are rollouts."""
        return self.load.rollouts > 1

    @property
    def full(self) -> bool:
        """Whether all weights are trained; else adapters are."""
        return self.config.vsi.lora.rank == 0

    @property
    def trained(self) -> int:
        """Weights that are trained."""
        return self.shape.parameters if self.full else self.shape.adapters(self.config.vsi.lora.rank)

    @property
    def number(self) -> int:
        """Bytes of a number while it is computed with."""
        return 2 if str(self.config.vsi.hardware.param_dtype) in ("bf16", "fp16") else 4

    @property
    def copied(self) -> bool:
        """Whether Adam has a float32 copy of the weights: Megatron's has, where they are not float32 themselves."""
        return self.megatron and self.number < 4

    @property
    def recomputed(self) -> bool:
        """Whether layers are computed again for the backward pass."""
        if not self.megatron:
            return bool(
                (
                    OmegaConf.select(self.config, "actor_rollout_ref.model") or self.config.model
                ).enable_gradient_checkpointing
            )
        engine = OmegaConf.select(self.config, "actor_rollout_ref.actor.megatron") or self.config.engine
        return OmegaConf.select(engine, "override_transformer_config.recompute_granularity") == "full"

    @property
    def has_reference(self) -> bool:
        """Whether a second model gives the reference (with LoRA it is the actor without its adapters)."""
        return self.ppo and self.full and bool(self.config.actor_rollout_ref.actor.use_kl_loss)


def training_terms(recipe: Recipe) -> Iterator[Term]:
    """What lies on a GPU in the update."""
    offload = bool(recipe.config.vsi.hardware.offload)
    weights, trained = "all weights" if recipe.full else "no weights, adapters", recipe.trained
    copies = _megatron(recipe) if recipe.megatron else _fsdp(recipe)
    yield Term("weights", copies.weights, copies.basis, generating=not offload)
    if recipe.has_reference and not offload:
        yield Term("reference", copies.weights, "a second model, because all weights are trained", generating=True)
    yield Term("gradients", copies.gradients * trained, f"{weights}: {trained / 1e6:.0f} M, float32")
    yield Term(
        "Adam",
        copies.adam * trained,
        "moments in float32" + ", and a copy of the weights" * recipe.copied,
        not offload,
    )
    if copies.gathered:
        yield Term("gathered layers", copies.gathered, "what FSDP2 holds whole at a time")
    yield from _activations(recipe)
    yield _logits(recipe)


@dataclass(frozen=True)
class _Copies:
    weights: float
    basis: str
    gradients: float
    """Bytes of a trained weight on one GPU."""
    adam: float
    gathered: float


def _fsdp(recipe: Recipe) -> _Copies:
    shape, gpus = recipe.shape, recipe.load.gpus
    embedding, layer = shape.vocabulary * shape.hidden, shape.layer_parameters
    # the root unit stays; a layer and the next one come and go
    largest = layer if shape.tied else max(layer, embedding / 2)
    gathered = (embedding + 2 * largest) * recipe.number if gpus > 1 else 0.0
    weights = shape.parameters + (0 if recipe.full else recipe.trained)
    return _Copies(weights * 4 / gpus, f"float32 over {gpus} GPUs (FSDP2)", 4 / gpus, 8 / gpus, gathered)


def _megatron(recipe: Recipe) -> _Copies:
    parallel, gpus = recipe.config.vsi.hardware.tensor_parallel, recipe.load.gpus
    basis = f"{recipe.number} bytes each over {parallel} GPU of tensor parallel (Megatron)"
    adam = (8 + 4 * recipe.copied) / gpus
    return _Copies(recipe.shape.parameters * recipe.number / parallel, basis, 4 / parallel, adam, 0.0)


def _activations(recipe: Recipe) -> Iterator[Term]:
    load, shape, number = recipe.load, recipe.shape, recipe.number
    parallel = recipe.config.vsi.hardware.tensor_parallel if recipe.megatron else 1
    # inputs and outputs of both norms, queries, attention's output; keys and values; gate, up and their product
    layer = load.tokens * (6 * shape.hidden + shape.kv_width + 3 * shape.feed_forward) * number / parallel
    if recipe.recomputed:
        kept = load.tokens * shape.hidden * shape.layers * number
        yield Term("checkpointed activations", kept, f"{load.tokens} tokens, one hidden state a layer")
        again = layer + 3 * load.tokens * shape.feed_forward * number / parallel
        yield Term("a layer computed again", again, "its activations, and the gradients in its MLP")
    else:
        yield Term("activations", shape.layers * layer, f"{load.tokens} tokens, all of {shape.layers} layers")
    patches = load.videos * load.video_tokens * PATCHES_A_TOKEN
    yield Term("pixels", patches * PATCH_BYTES, f"{load.videos} videos, float32")
    yield Term("vision features", load.videos * load.video_tokens * shape.hidden * number, f"{load.videos} videos")
    if recipe.full:
        again = recipe.recomputed and not recipe.megatron  # Megatron computes the language model's layers again alone
        kept = patches * shape.vision_width * shape.vision_layers * number * (1 if again else TOWER_KEEPS)
        yield Term("vision tower's activations", kept, f"{load.videos} videos, {patches} patches")


def _logits(recipe: Recipe) -> Term:
    parallel = recipe.config.vsi.hardware.tensor_parallel if recipe.megatron else 1
    spoken, vocabulary = recipe.load.spoken, recipe.shape.vocabulary / parallel
    if recipe.load.shared:
        at_once = min(spoken, CHUNK)
        return Term(
            "logits", at_once * vocabulary * CHUNK_LOGIT_BYTES, f"{at_once} of {spoken} answer tokens at a time"
        )
    basis = f"{spoken} tokens x {recipe.shape.vocabulary} x (bf16 + float32 + gradient)"
    return Term("logits", spoken * vocabulary * LOGIT_BYTES, basis)


def host_terms(recipe: Recipe) -> Iterator[Term]:
    """What models hold in a node's memory, beside the pixels."""
    config, parameters = recipe.config, recipe.shape.parameters
    ranks = config.trainer.n_gpus_per_node
    if config.vsi.hardware.offload:
        copies = (12 if recipe.full else 4) + 4 * recipe.has_reference
        yield Term("offloaded weights", parameters * copies / config.trainer.nnodes, "and Adam's moments; float32")
    if recipe.ppo and config.vsi.hardware.sleep_mode and not recipe.full and not recipe.megatron:
        # with adapters as adapters vLLM sleeps at level 1, which keeps its weights on the host
        share = config.actor_rollout_ref.rollout.tensor_model_parallel_size
        yield Term("vLLM asleep", ranks * parameters * 2 / share, f"bfloat16 weights of {ranks} GPUs (sleep level 1)")
    if not recipe.megatron:
        yield Term(
            "while loading", ranks * parameters * 4, f"{ranks} ranks read the model in float32, at the start only"
        )
