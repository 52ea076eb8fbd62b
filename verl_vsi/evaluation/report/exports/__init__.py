"""Answers as the files of other harnesses, for those who read or rank with them.

Scores in these files are those of lmms-eval's rule, whatever our result was read with: whoever runs the tool on the
answers gets the same. VLMEvalKit's sheet has none: its code computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from verl_vsi.evaluation.report.exports.answers import Answers, answers_of
from verl_vsi.evaluation.report.exports.lmms_eval import EASI_SUBMITS, write_easi, write_lmms_eval
from verl_vsi.evaluation.report.exports.vlmevalkit import write_vlmevalkit

__all__ = ["EASI_SUBMITS", "EXPORTS", "Answers", "answers_of", "export"]

EXPORTS: Mapping[str, Callable[[Answers, Path], list[Path]]] = {
    "lmms-eval": write_lmms_eval,
    "vlmevalkit": write_vlmevalkit,
    "easi": write_easi,
}
"""Format -> how it is written."""


def export(form: str, answers: Answers, out: Path) -> list[Path]:
    """Write the files of a harness.

    Args:
        form: of `EXPORTS`.
        answers: what to write.
        out: the folder.

    Raises:
        ValueError: no such format.
        ImportError: a sheet is to be written, and openpyxl is not there.
    """
    if form not in EXPORTS:
        raise ValueError(f"--export '{form}' is unknown; choose one of {', '.join(EXPORTS)}")
    return EXPORTS[form](answers, out)
