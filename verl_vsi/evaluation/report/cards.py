"""A model card and a data card of a run, in the hub's format: Markdown behind a header of YAML. Nothing is uploaded.

A card says only what the run's record, its results and its files of rows say; what they do not, it calls not known.
Secrets are masked in records, and of paths only the last part is told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from omegaconf import OmegaConf

from verl_vsi.data_adapters.audit import Audit, audit
from verl_vsi.data_adapters.rows import iter_rows
from verl_vsi.evaluation.report.looking import looking_tables
from verl_vsi.evaluation.report.table_formats import markdown
from verl_vsi.evaluation.report.tables import result_row
from verl_vsi.evaluation.score.result import Result

TAGS = ("verl", "verl-vsi", "spatial-reasoning", "video")
UNKNOWN = "not known"
SETTINGS = {
    "learning rate": "actor_rollout_ref.actor.optim.lr",
    "rollouts a question": "actor_rollout_ref.rollout.n",
    "temperature": "actor_rollout_ref.rollout.temperature",
    "KL coefficient": "actor_rollout_ref.actor.kl_loss_coef",
    "LoRA rank": "actor_rollout_ref.model.lora_rank",
    "questions a step": "data.train_batch_size",
    "epochs": "trainer.total_epochs",
    "mode": "vsi.mode",
    "frames a video": "vsi.frames.nframes",
    "pixels a frame, at most": "vsi.frames.max_pixels",
    "published scenes in": "vsi.data.published",
}
"""What a card says of the training -> its key in the run's config."""

_PATH = re.compile(r"(?<![\w.])[/~][^\s,\]}'\"]+")

Record = Mapping[str, Any]


def model_card(record: Record, results: Sequence[Result], licence: str | None = None) -> str:
    """The README.md of a model.

    Args:
        record: of the run (`config.provenance`).
        results: of its checkpoint; their scores stand in the header, too.
        licence: of the weights, as the hub names licences; None: the card says that it is missing.
    """
    base = str(record["model"]["name"]) if record.get("model") else UNKNOWN
    header: dict[str, Any] = {"license": licence} if licence else {}
    header |= {"library_name": "transformers", "pipeline_tag": "video-text-to-text", "tags": [*TAGS]}
    header |= {"base_model": base} if base.count("/") == 1 and not base.startswith(("/", ".")) else {}
    if results:
        header["model-index"] = [{"name": str(record.get("recipe")), "results": [_indexed(r) for r in results]}]
    lines = [
        f"# {record.get('recipe') or 'A run'} with verl-vsi",
        "",
        f"Trained from {PurePath(base).name} with [verl](https://github.com/volcengine/verl) and verl-vsi.",
        *([] if licence else ["**Licence: not set.** The terms of the base model and of the data bind it.", ""]),
        *_training(record),
        *_data(record),
        "## Scores",
        "",
        *(_scores(results) if results else ["Not evaluated: no result was given.", ""]),
    ]
    return _card(header, lines)


def data_card(file: Path, fingerprint: Mapping[str, Any], licence: str | None = None) -> str:
    """The README.md of a file of rows.

    Args:
        file: the parquet file.
        fingerprint: what it says of its making.
        licence: of the annotations; None: what the fingerprint says, or that nobody says.
    """
    content = audit(iter_rows(file))
    known = licence or fingerprint.get("licence")
    header: dict[str, Any] = {"task_categories": ["visual-question-answering"], "tags": [*TAGS]}
    header |= {"license": str(known).lower()} if known and " " not in str(known) else {}
    rows = [f"| {task} | {t.rows} | {100 * t.most_frequent_score:.1f} |" for task, t in content.tasks.items()]
    lines = [
        f"# {file.stem}",
        "",
        f"{content.rows} questions about {len(content.scenes)} scenes. Annotations only: videos have their own terms.",
        "",
        f"Licence of the annotations: {known or UNKNOWN}.",
        "",
        *_pairs({"made by": fingerprint.get("builder"), "rules": fingerprint.get("rules"),
                 "source": fingerprint.get("set") or fingerprint.get("source"), "seed": fingerprint.get("seed"),
                 "answers are true of": fingerprint.get("frame_aware", "the whole scene"),
                 "sha256 of the content": content.sha256}),
        "| task | questions | the most frequent answer scores, % |",
        "|---|---:|---:|",
        *rows,
        "",
        "## Leak check",
        "",
        leak_sentence(content),
    ]  # fmt: skip
    return _card(header, lines)


def leak_sentence(content: Audit) -> str:
    """Whether training on rows would leak, in words."""
    if not content.leaks:
        return "No row names a scene of VSI-Bench (288 scenes) or a validation scan of ScanNet (312)."
    return (
        f"**{len(content.benchmark)} scenes of VSI-Bench and {len(content.val_scans)} validation scans of ScanNet are "
        "in these rows**: scores of models that were trained on them say little on VSI-Bench."
    )


def _card(header: Mapping[str, Any], lines: Sequence[str]) -> str:
    front = OmegaConf.to_yaml(OmegaConf.create(dict(header)))
    return f"---\n{front}---\n\n" + "\n".join(lines).rstrip() + "\n"


def _indexed(result: Result) -> dict[str, Any]:
    """A result as the hub's model index has it."""
    scores, labels = result.scores["score"], result.labels
    metrics = [{"type": "macro_average", "name": labels.averaging, "value": round(100 * scores.overall.mean, 2)}]
    metrics += [{"type": task, "name": task, "value": round(100 * e.mean, 2)} for task, e in scores.tasks.items()]
    dataset = {"name": f"{labels.set}, {labels.condition}", "type": "nyu-visionx/VSI-Bench", "split": "test"}
    if labels.tasks != "vsibench":
        dataset = {"name": f"{labels.set}, {labels.condition}", "type": "other"}
    return {"task": {"type": "video-text-to-text"}, "dataset": dataset, "metrics": metrics}


def _training(record: Record) -> list[str]:
    config = record.get("resolved") or {}
    values = {name: _at(config, key) for name, key in SETTINGS.items()}
    run = {key: record.get(key) for key in ("recipe", "trainer", "seed", "start", "end", "status", "step")}
    versions = ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items() if version)
    overrides = " ".join(f"`{_PATH.sub(_last_part, word)}`" for word in record.get("overrides") or ()) or "none"
    return ["## Training", "", *_pairs({**run, **values, "versions": versions}), f"Overrides: {overrides}", ""]


def _last_part(path: re.Match[str]) -> str:
    return PurePath(path[0]).name


def _at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def _data(record: Record) -> list[str]:
    lines = ["## Data", "", "| file | rows | made by | published scenes | sha256 |", "|---|---:|---|---|---|"]
    for files in (record.get("data") or {}).values():
        for entry in files:
            mark = entry.get("fingerprint") or {}
            cells = (PurePath(entry["file"]).name, mark.get("rows"), mark.get("rules") or mark.get("builder"),
                     mark.get("published"), str(mark.get("sha256", ""))[:12])  # fmt: skip
            lines.append("| " + " | ".join(UNKNOWN if cell in (None, "") else str(cell) for cell in cells) + " |")
            if Path(entry["file"]).is_file():
                lines += ["", leak_sentence(audit(iter_rows(entry["file"]))), ""]
    return [*lines, ""]


def _scores(results: Sequence[Result]) -> list[str]:
    rows = [result_row(result, [result.rates_line(), _protocol(result)]) for result in results]
    tables = {f"{results[0].labels.averaging}, %, 95 % bootstrap intervals": rows} | looking_tables(results)
    return [markdown(rows, title) for title, rows in tables.items()]


def _protocol(result: Result) -> str:
    labels = result.labels
    return (
        f"{labels.preset}: {labels.prompts}, {labels.nframes} frames of at most {labels.max_pixels} pixels, "
        f"answers read as {labels.extraction}, {labels.decoding}, questions {labels.set} "
        f"({str(labels.data.get('sha256', UNKNOWN))[:12]})"
    )


def _pairs(values: Mapping[str, Any]) -> list[str]:
    rows = [f"| {name} | {UNKNOWN if value in (None, '') else value} |" for name, value in values.items()]
    return ["| | |", "|---|---|", *rows, ""]
