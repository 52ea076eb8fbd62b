"""What `verl-vsi data build` is asked for: scenes of one source, questions, and the frames that answers are true of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from verl_vsi.commands._common import number, recipe_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verl_vsi.data_adapters.frames import FrameSpec
    from verl_vsi.data_adapters.questions import Quotas
    from verl_vsi.data_adapters.questions.support import FrameAware, Unseen
    from verl_vsi.data_adapters.schema import Rejected, Scene


@dataclass(frozen=True)
class SceneOptions:
    """Scenes, from one source."""

    scannet: Annotated[Path | None, typer.Option(help="ScanNet as download-scannet.py wrote it.")] = None
    meta_info: Annotated[Path | None, typer.Option(help="A meta-info JSON of VSI-Bench's authors.")] = None
    scenes: Annotated[Path | None, typer.Option(help="A *.scenes.jsonl, e.g. of data rooms.")] = None
    labels: Annotated[Path | None, typer.Option(help="ScanNet's label map, where it is not in its folder.")] = None


@dataclass(frozen=True)
class RuleOptions:
    """Questions."""

    rules: Annotated[str, typer.Option(help="paper (VSI-100k) or vsibench.")] = "paper"
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeatable.")] = None
    total: Annotated[list[str] | None, typer.Option(help="TASK=N questions in all; repeatable.")] = None
    per_scene: Annotated[list[str] | None, typer.Option(help="TASK=N, or N for all tasks; repeatable.")] = None
    margin: Annotated[float, number(0, "Metres that the nearest must be nearer (paper: 0).", high=100)] = 0.0
    absent: Annotated[int, number(0, "Further questions a scene about objects that it does not have (answer 0).")] = 0
    angle: Annotated[float, number(0, "Degrees off the line of sight for left and right (paper: 0).", high=90)] = 0.0


@dataclass(frozen=True)
class FrameAwareOptions:
    """Answers that are true of the frames."""

    frame_aware: Annotated[
        str | None,
        typer.Option(help="Make answers true of so many evenly spaced frames, or of a recipe's, e.g. vsgrpo_2b."),
    ] = None
    unseen: Annotated[
        str, typer.Option(help="Questions about what those frames do not show: drop, or keep (a count becomes 0).")
    ] = "drop"
    recipe: Annotated[
        str | None, typer.Option(help="Say of each row whether this recipe's frames support it, too (needs verl).")
    ] = None


def read_sources(
    out: Path, sources: SceneOptions, frames: FrameAwareOptions, workers: int
) -> tuple[Iterator[Scene | Rejected] | list[Scene | Rejected], str]:
    """The scenes of the one source that is named, and its name; of ScanNet with what frames show, where asked for.

    Args:
        out: the file of rows; what is read is kept beside it.
        sources: of the command line.
        frames: likewise.
        workers: processes.

    Raises:
        ValueError: none or several sources.
    """
    from verl_vsi.data_adapters.scannet.scan_files import label_map
    from verl_vsi.data_adapters.scannet.scans import read_scans, scan_folders
    from verl_vsi.data_adapters.scene_files import read_meta_info, read_scenes

    if sum(source is not None for source in (sources.scannet, sources.meta_info, sources.scenes)) != 1:
        raise ValueError("give one source of scenes: --scannet DIR, --meta-info FILE or --scenes FILE")
    if sources.scannet is not None:
        folders, labels = scan_folders(sources.scannet), sources.labels or label_map(sources.scannet)
        scans = read_scans(folders, labels, out.with_suffix(".scenes.jsonl"), workers=workers)
        read = list(scans)  # before the questions' own progress starts
        if frames.frame_aware or frames.recipe:
            read = _with_visibility(out, read, sources.scannet, frame_aware(frames), workers)
        return read, "scannet"
    if sources.meta_info is not None:
        return read_meta_info(sources.meta_info), sources.meta_info.name
    assert sources.scenes is not None
    return read_scenes(sources.scenes), sources.scenes.name


def frame_aware(options: FrameAwareOptions) -> FrameAware:
    """What rows say of frames.

    Raises:
        ValueError: an unknown policy, or a recipe that does not compose.
    """
    from verl_vsi.data_adapters.questions.support import UNSEEN, FrameAware

    if options.unseen not in UNSEEN:
        raise ValueError(f"--unseen '{options.unseen}' is unknown; drop or keep")
    return FrameAware(_frames(options.frame_aware), cast("Unseen", options.unseen), _frames(options.recipe))


def _frames(words: str | None) -> FrameSpec | None:
    """So many evenly spaced frames, or those of a recipe."""
    from verl_vsi.data_adapters.frames import FrameSpec

    if words is None:
        return None
    return FrameSpec("linspace", int(words)) if words.isdigit() else FrameSpec.from_config(recipe_frames(words))


def _with_visibility(
    out: Path, scenes: list[Scene | Rejected], scannet: Path, aware: FrameAware, workers: int
) -> list[Scene | Rejected]:
    """Scenes of ScanNet with what the frames show, from the depth of their streams."""
    from verl_vsi.data_adapters.scannet.depth import with_visibility
    from verl_vsi.data_adapters.schema import Rejected

    log, read = out.with_suffix(".visible.jsonl"), [s for s in scenes if not isinstance(s, Rejected)]
    seen = with_visibility(read, scannet, aware.choices, log, workers=workers)
    return [*[s for s in scenes if isinstance(s, Rejected)], *seen]


def quotas(questions: RuleOptions) -> Quotas | None:
    """The command line's quotas in place of the rule set's own; None: the rule set's own."""
    from verl_vsi.data_adapters.questions import Quotas, rule_set

    tasks = tuple(rule_set(questions.rules).tasks)
    totals = _numbers(questions.total or [], tasks, "--total")
    per_scene = _numbers(questions.per_scene or [], tasks, "--per-scene")
    return Quotas(totals, per_scene) if totals or per_scene else None


def _numbers(pairs: list[str], tasks: tuple[str, ...], option: str) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for pair in pairs:
        task, _, number = pair.rpartition("=")
        if not number.isdigit() or (task and task not in tasks):
            raise ValueError(f"{option} {pair}: expected TASK=N with TASK one of {', '.join(tasks)}")
        numbers |= dict.fromkeys([task] if task else tasks, int(number))
    return numbers
