"""How questions are asked and read: prompts, budget, frames, extraction. Presets name what is in use.

`official`  VSI-Bench's own code: 32 linspace frames, its prompts, 16 new tokens, greedy, the first word (2412.14171).
`harness`   lmms-eval since July 2026: the same, but a number is the first number anywhere in the answer.
`revsi`     ReVSI's code: its prompts, every frame of a video of 16, 32 or 64 (`nframes`); 2604.24300.
`paper`     vsGRPO's T/O/V prompts (2504.00883), each mode with a budget of its own; what the paper leaves unstated
            (frames, pixels, budget, reading) is ours and stands in the labels.
`run`       the mode, evaluation prompts and frames of a checkpoint's own training; see `ask.trained_with`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from verl_vsi.data_adapters.frames.spec import FrameSpec
from verl_vsi.data_adapters.prompts import check_mode, user_text
from verl_vsi.evaluation.items import Item
from verl_vsi.rewards.answers import EXTRACTIONS, extraction_name

PRE = "These are frames of a video."
NUMBER_POST = "Please answer the question using a single word or phrase."
REVSI_NUMBER_POST = "Answer the question using a single integer or decimal number."
CHOICE_POST = "Answer with the option's letter from the given choices directly."
BENCHMARKS = {"official": NUMBER_POST, "revsi": REVSI_NUMBER_POST}
"""Prompt sets of benchmarks, which know no modes -> how they ask for a number."""
PROMPT_SETS = {
    "official": "VSI-Bench's own prompts",
    "revsi": "ReVSI's own prompts",
    "test": "the paper's evaluation prompts",
    "train": "the prompts of training",
}

NEED = {"vanilla": 16, "think": 256, "observe": 256}
"""New tokens under which a mode's answer is cut before it is given. Ours; VSI-Bench's 16 are too few for T and O."""


@dataclass(frozen=True)
class Mode:
    """A mode as `recipes/mode` has it.

    Args:
        name: vanilla, think or observe.
        tag: around what comes before the answer; None: vanilla.
        train_prompt: after the question in training.
        eval_prompt: after the question in evaluation (2504.00883, Table 1).
        response_length: new tokens.
    """

    name: str
    tag: str | None
    train_prompt: str
    eval_prompt: str
    response_length: int


@dataclass(frozen=True)
class Protocol:
    """Everything that decides a score beside the model and the questions.

    Args:
        preset: whose protocol it started from.
        mode: vanilla, think or observe.
        prompts: a name of `PROMPT_SETS`.
        extraction: how an answer is read.
        frames: which frames, how large.
        max_tokens: new tokens.
        seed: of shuffling, of the bootstrap, and sent to the model.
    """

    preset: str
    mode: Mode
    prompts: str
    extraction: str
    frames: FrameSpec
    max_tokens: int
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what would score the budget instead of the model."""
        object.__setattr__(self, "extraction", extraction_name(self.extraction))
        for value, known, what in (
            (self.prompts, PROMPT_SETS, "prompt set"),
            (self.extraction, EXTRACTIONS, "extraction"),
        ):
            if value not in known:
                raise ValueError(f"{what} '{value}' is unknown; choose one of {', '.join(known)}")
        if self.prompts in BENCHMARKS and self.mode.name != "vanilla":
            raise ValueError(
                f"{PROMPT_SETS[self.prompts]} have no {self.mode.name} mode; take --preset paper, or --mode vanilla"
            )
        if self.max_tokens < NEED[self.mode.name]:
            raise ValueError(
                f"{self.max_tokens} new tokens cut off a {self.mode.name} answer (it needs {NEED[self.mode.name]} or "
                "more): the score would be the budget's. Raise --max-tokens"
            )

    def text(self, item: Item) -> str:
        """What the model reads after the video."""
        if self.prompts not in BENCHMARKS:
            prompt = self.mode.eval_prompt if self.prompts == "test" else self.mode.train_prompt
            return user_text(item.question, item.options, prompt)
        post = CHOICE_POST if item.kind == "choice" else BENCHMARKS[self.prompts]
        return f"{PRE}\n{user_text(item.question, item.options, post)}"

    @property
    def _has_published_prompts(self) -> bool:
        published, prompt = load_mode(self.mode.name), "eval_prompt" if self.prompts == "test" else "train_prompt"
        return self.prompts in BENCHMARKS or getattr(self.mode, prompt) == getattr(published, prompt)

    def labels(self) -> dict[str, Any]:
        """The protocol's part of `Labels`: each knob by name."""
        return {
            "preset": self.preset,
            "mode": self.mode.name,
            "prompts": PROMPT_SETS[self.prompts] if self._has_published_prompts else "the run's own prompts",
            "extraction": self.extraction,
            "frames": self.frames.key,
            "nframes": self.frames.nframes if self.frames.fps is None else f"{self.frames.fps:g} a second",
            "min_pixels": self.frames.min_pixels,
            "max_pixels": self.frames.max_pixels,
            "decoding": f"greedy, at most {self.max_tokens} new tokens",
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Preset:
    """A protocol that others have published; see the module's docstring.

    Args:
        prompts: a name of `PROMPT_SETS`.
        extraction: how an answer is read.
        frames: which frames, how large.
        max_tokens: new tokens; None: the mode's.
        mode: that it belongs to; None: any.
    """

    prompts: str
    extraction: str
    frames: FrameSpec
    max_tokens: int | None
    mode: Mode | None = None


_BENCH = FrameSpec(sampler="linspace", nframes=32)
_PAPER = FrameSpec(sampler="linspace", nframes=32, max_pixels=256 * 28 * 28)
PRESETS = {
    "official": Preset("official", "official", _BENCH, max_tokens=16),
    "harness": Preset("official", "lmms_eval", _BENCH, max_tokens=16),
    "revsi": Preset("revsi", "official", _BENCH, max_tokens=16),
    "paper": Preset("test", "robust", _PAPER, max_tokens=None),
}


def make_protocol(
    preset: str,
    mode: str | None = None,
    *,
    frames: Mapping[str, Any] | None = None,
    run: Preset | None = None,
    **settings: Any,
) -> Protocol:
    """A preset, with what the caller sets otherwise (values of None are left as the preset has them).

    Args:
        preset: a name of `PRESETS`, or ``run``.
        mode: vanilla, think or observe; None: the preset's, else vanilla.
        frames: fields of `FrameSpec` that differ from the preset's.
        run: the preset of a checkpoint's own run, where there is one.
        settings: further fields of `Protocol` that do.

    Raises:
        ValueError: an unknown name, or settings that do not go together; says what to change.
    """
    presets = PRESETS | ({"run": run} if run else {})
    if preset not in presets:
        hint = " (run: for checkpoints that lie in the folder of their run)" if preset == "run" else ""
        raise ValueError(f"preset '{preset}' is unknown; choose one of {', '.join(presets)}{hint}")
    base = presets[preset]
    is_own_mode = base.mode is None or mode in (None, base.mode.name)
    recipe_mode = base.mode if base.mode and is_own_mode else load_mode(mode or "vanilla")
    overrides = {k: v for k, v in settings.items() if v is not None}
    spec = replace(base.frames, **{k: v for k, v in (frames or {}).items() if v is not None})
    max_tokens = (base.max_tokens if is_own_mode else None) or recipe_mode.response_length
    values = {"prompts": base.prompts, "extraction": base.extraction, "max_tokens": max_tokens} | overrides
    # what a patch is, is the model's matter, not the protocol's
    is_own_spec = replace(spec, patch_size=base.frames.patch_size) == base.frames
    changed = overrides.keys() - {"seed"} or not is_own_spec or not is_own_mode
    return Protocol(f"{preset}, changed" if changed else preset, recipe_mode, frames=spec, **values)


@cache
def load_mode(name: str) -> Mode:
    """The mode of a recipe: one place holds the prompts.

    Raises:
        ValueError: the paper has no such mode.
    """
    from omegaconf import OmegaConf

    check_mode(name)
    node = OmegaConf.create((files("verl_vsi.recipes") / "mode" / f"{name}.yaml").read_text(encoding="utf-8"))
    return Mode(node.name, node.tag, node.train_prompt, node.eval_prompt, node.response_length)
