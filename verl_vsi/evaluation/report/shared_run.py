"""A run as one folder that another person can read and run again: recipe, command, record, curves, card.

The command and the card name no file of the sharer's: such settings are left out, and listed. The record keeps them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verl_vsi.config.provenance import FOLDER, latest, repeat
from verl_vsi.config.recipes import GROUPS
from verl_vsi.config.secret_values import MASK
from verl_vsi.config.trainers import USER_VARIABLE, config_dirs
from verl_vsi.data_adapters.files import full_disk_named, hidden_beside
from verl_vsi.evaluation.report.cards import model_card
from verl_vsi.evaluation.report.figures import draw_curves
from verl_vsi.evaluation.report.training_logs import TrainingLog, read_run
from verl_vsi.evaluation.score.result import Result

REQUIRED = "REQUIRED_VERL.txt"
"""As in verl's own collection of recipes."""

_OWN_FILE = re.compile(r"=\s*[\"']?[\[{]?\s*[\"']?(/|~|[A-Za-z]:\\)")
"""A setting whose value begins with a path of the sharer's."""

_RUN = """\
#!/usr/bin/env bash
# The run again, on your data: VSI_ROOT=/data/vsi ./run.sh [further settings]
set -euo pipefail
: "${{VSI_ROOT:?set VSI_ROOT to the folder of videos, rows and frames}}"
export {variable}="${{{variable}:-$(cd "$(dirname "$0")" && pwd)}}"
{command} "$@"
"""

_HOW = """
## Run it again

    pip install -r {required}
    VSI_ROOT=/data/vsi ./run.sh

`VSI_ROOT` is the folder of videos, rows and frames. {left_out}`provenance.json` is the record of the run, secrets
masked; `metrics.jsonl` has each step.

![curves](curves.png)

## Required verl version

verl {verl}, with verl-vsi {ours}; the run had {others}.
"""


def share_run(run: Path, out: Path, results: Sequence[Result] = (), licence: str | None = None) -> list[str]:
    """Write the folder.

    Args:
        run: the folder of a training run.
        out: the folder to make.
        results: of the run's checkpoint, for the card.
        licence: of the weights, as the hub names licences.

    Returns:
        settings that were left out, since they name files of this machine or held a secret.

    Raises:
        ValueError: no recipe was run there, or it logged nothing.
        FileExistsError: `out` is there.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already; name a new folder")
    record = latest(run)
    if record is None:
        raise ValueError(f"{run} holds no {FOLDER}/*.json: no recipe was run there")
    log = read_run(run, str(record["recipe"]))
    left_out = [word for word in record["overrides"] if _OWN_FILE.search(word) or MASK in word]
    temporary = hidden_beside(out)
    try:
        with full_disk_named(out):
            temporary.mkdir(parents=True)
            _write_recipe(record, left_out, temporary)
            _write_record(record, log, temporary)
            card = model_card(record, results, licence) + _how(record, left_out)
            (temporary / "README.md").write_text(card, encoding="utf-8")
            temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return left_out


def _write_recipe(record: Mapping[str, Any], left_out: Sequence[str], folder: Path) -> None:
    """The command, and recipes, modes and the like of the sharer's own that it may name."""
    overrides = [word for word in record["overrides"] if word not in left_out]
    command = repeat(record["trainer"], overrides, record["shell"]["processes"])
    script = folder / "run.sh"
    script.write_text(_RUN.format(variable=USER_VARIABLE, command=command), encoding="utf-8")
    script.chmod(0o755)
    started_in = record["shell"]
    own = [started_in["environment"].get(USER_VARIABLE, ""), *map(str, config_dirs(started_in["config_words"]))]
    for place in (Path(started_in["directory"], path).expanduser() for path in own if path):
        for group in ("recipe", *GROUPS):
            for file in sorted((place / group).glob("*.yaml")):
                (folder / group).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, folder / group / file.name)


def _write_record(record: Mapping[str, Any], log: TrainingLog, folder: Path) -> None:
    """What was run, without the shell that it was started in, and what it logged."""
    told = {key: value for key, value in record.items() if key not in ("shell", "command")}
    (folder / "provenance.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    lines = [json.dumps({"step": step, "data": dict(data)}) for step, data in sorted(log.log.items())]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw_curves([log], folder / "curves.png")
    versions = record["versions"]
    (folder / REQUIRED).write_text(f"verl=={versions['verl']}\n", encoding="utf-8")


def _how(record: Mapping[str, Any], left_out: Sequence[str]) -> str:
    versions = {name: version for name, version in record["versions"].items() if version}
    verl, ours = versions.pop("verl"), versions.pop("verl-vsi")
    names = ", ".join(f"`{word.split('=')[0].lstrip('+')}`" for word in left_out)
    own = f"Its own {names} named files of another machine: give yours behind `run.sh`. " if names else ""
    others = ", ".join(f"{name} {version}" for name, version in versions.items())
    return _HOW.format(required=REQUIRED, left_out=own, verl=verl, ours=ours, others=others)
