"""What a recipe will take: tokens, memory, bytes and steps, from its settings alone; orders of magnitude."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from verl_vsi.config.access import row_files
from verl_vsi.config.duration import H100, UTILISATION, step_seconds
from verl_vsi.config.load import TEXT_TOKENS, Load, load_of
from verl_vsi.config.memory import Recipe, host_terms, training_terms
from verl_vsi.config.model_shape import shape_of
from verl_vsi.config.trainers import DPO

_GB = 1e9


@dataclass(frozen=True)
class Line:
    """One figure of an estimate."""

    what: str
    amount: str
    basis: str


def estimate(config: DictConfig, rows: int | None, videos: int, capacity: float = 80e9) -> list[Line]:
    """All figures.

    Args:
        config: a composed recipe.
        rows: rows to train on; None to count them in the recipe's parquet.
        videos: distinct videos that the rows are about.
        capacity: bytes of a GPU.

    Raises:
        ValueError: rows are not given and not there; frames go by seconds; the model is unknown.
    """
    recipe = recipe_of(config)
    rows = count_rows(config) if rows is None else rows
    return [
        *_tokens(recipe.load),
        *_steps(recipe, rows),
        *_gpu(recipe, capacity),
        *_bytes(recipe, videos),
    ]


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


def steps_of(config: DictConfig, rows: int) -> int:
    """Training steps of a run.

    Args:
        config: a composed recipe.
        rows: that it trains on.
    """
    epoch = rows // config.data.train_batch_size
    return config.trainer.total_training_steps or epoch * config.trainer.total_epochs


def hours_of(recipe: Recipe, rows: int) -> float | None:
    """Hours of a run on H100s (see `config.duration`); None on a CPU, and for DPO, whose pairs are not counted.

    Args:
        recipe: with its model's shape.
        rows: that it trains on.
    """
    if recipe.config.vsi.hardware.device == "cpu" or recipe.config.vsi.trainer == DPO:
        return None
    return steps_of(recipe.config, rows) * step_seconds(recipe) / 3600


def _steps(recipe: Recipe, rows: int) -> Iterator[Line]:
    load, total = recipe.load, steps_of(recipe.config, rows)
    epoch = rows // load.batch
    yield Line("steps an epoch", f"{epoch}", f"{rows} rows / {load.batch} a batch")
    yield Line("steps", f"{total}", "trainer.total_training_steps, or all epochs")
    yield Line("responses a step", f"{load.batch * load.rollouts}", f"{load.batch} questions x {load.rollouts}")
    if (hours := hours_of(recipe, rows)) is not None:
        basis = f"answers of full length, on {load.gpus} {H100.name} at {UTILISATION:.0%} of their peak; not measured"
        yield Line("hours", f"about {hours:.1f}", basis)


def _gpu(recipe: Recipe, capacity: float) -> Iterator[Line]:
    terms = list(training_terms(recipe))
    yield Line("model", f"{recipe.shape.parameters / 1e9:.2f} B parameters", "language model and tower")
    for term in terms:
        yield Line(f"GPU: {term.what}", _gb(term.bytes), term.basis)
    yield Line("GPU: training in all", _gb(sum(term.bytes for term in terms)), "per GPU, without fragmentation")
    if recipe.ppo:
        rollout, load = recipe.config.actor_rollout_ref.rollout, recipe.load
        cache = (load.prompt + load.response) * recipe.shape.kv_numbers * 2
        share = rollout.gpu_memory_utilization
        back = "given back while training" if recipe.config.vsi.hardware.sleep_mode else "kept while training"
        yield Line("GPU: vLLM", f"{share:.0%} of it", f"rollout.gpu_memory_utilization; {back}")
        yield Line(
            "GPU: beside vLLM", _gb(sum(t.bytes for t in terms if t.generating)), "what stays while it generates"
        )
        yield Line("GPU: keys and values", f"{cache / 1e6:.0f} MB a response", "bfloat16, prompt shared by a group")
    needed, when = busiest(recipe, capacity)
    verdict = "fits" if needed <= capacity else "does not fit"
    yield Line(f"GPU of {_gb(capacity)}", f"{verdict}: {_gb(needed)}", f"{when}, without fragmentation")


def busiest(recipe: Recipe, capacity: float) -> tuple[float, str]:
    """Bytes of a GPU when it holds most, and when that is.

    Args:
        recipe: with its model's shape.
        capacity: bytes of the GPU, of which vLLM takes its share.
    """
    terms = list(training_terms(recipe))
    training = sum(term.bytes for term in terms)
    if not recipe.ppo:
        return training, "while training"
    rollout = recipe.config.actor_rollout_ref.rollout
    vllm = capacity * rollout.gpu_memory_utilization
    weights = recipe.shape.parameters * recipe.number / rollout.tensor_model_parallel_size
    generating = vllm + sum(term.bytes for term in terms if term.generating)
    awake = 0.0 if recipe.config.vsi.hardware.sleep_mode else vllm
    return max(
        (training + awake, "while training"),
        (generating, "while vLLM generates"),
        (weights / rollout.gpu_memory_utilization, "for vLLM's share to hold its weights"),
    )


FIXES = (
    ("actor_rollout_ref.actor.ppo_max_token_len_per_gpu=8192",),
    ("vsi.hardware.offload=true",),
    ("vsi.hardware.gpu_memory_utilization=0.4",),
    ("backend=fsdp2",),
    ("backend=fsdp2", "vsi.hardware.offload=true"),
    ("hardware=2x8", "backend=fsdp2"),
    ("vsi.lora.rank=64",),
    ("vsi.lora.rank=64", "backend=fsdp2"),
)
"""Overrides that need less of a GPU, those that change least first."""


def fix(compose: Callable[[Sequence[str]], DictConfig], command: Sequence[str], capacity: float) -> str:
    """The first of `FIXES` with which a recipe fits; empty where it fits already, or with none of them.

    Args:
        compose: from a recipe's name and overrides.
        command: those of the recipe.
        capacity: bytes of a GPU.
    """
    for overrides in ((), *FIXES):
        with suppress(HydraException, OmegaConfBaseException, ValueError):
            if busiest(recipe_of(compose([*command, *overrides])), capacity)[0] <= capacity:
                return " ".join(overrides)
    return ""


def recipe_of(config: DictConfig) -> Recipe:
    """A composed recipe's numbers.

    Raises:
        ValueError: frames go by seconds; the model is unknown.
    """
    return Recipe(config, load_of(config), shape_of(str(config.vsi.model)))


def _bytes(recipe: Recipe, videos: int) -> Iterator[Line]:
    config, load = recipe.config, recipe.load
    video = config.vsi.frames.nframes * config.vsi.frames.max_pixels * 3
    if load.shared:
        step, how = load.batch * video, "uint8, once a question, in Ray's object store"
        moved = "mapped by vLLM, and read from the store by each pass; TransferQueue carries names"
    else:
        step, how = load.batch * load.rollouts * load.pixel_bytes, "float32, for every response, in TransferQueue"
        moved = f"written once, read {load.passes} times"
    yield Line("disk: frames", _gb(videos * video), f"{videos} videos, uint8, decoded once, read by memory map")
    yield Line("host: pixels of a step", _gb(step), f"{how}, spread over the nodes")
    yield Line("moved a step", _gb(step * (1 + load.passes)), moved)
    terms = list(host_terms(recipe))
    for term in terms:
        yield Line(f"host: {term.what}", _gb(term.bytes), term.basis)
    held = sum(term.bytes for term in terms if term.what != "while loading")
    yield Line("host: a node", _gb(step / config.trainer.nnodes + held), "pixels, and what models hold after loading")


def _gb(count: float) -> str:
    return f"{count / _GB:.1f} GB" if count >= 0.05 * _GB else f"{count / 1e6:.1f} MB"
