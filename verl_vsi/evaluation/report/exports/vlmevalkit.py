"""VLMEvalKit's sheet of predictions, which its own ``evaluate`` scores; the columns serve its first version, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import atomic_path
from verl_vsi.evaluation.report.exports.answers import Answers, number_of
from verl_vsi.evaluation.score.predictions import Prediction

_ILLEGAL_IN_A_SHEET = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def write_vlmevalkit(answers: Answers, out: Path) -> list[Path]:
    """Write ``<model>_VSI-Bench_32frame.xlsx``.

    A cell of a sheet holds 32,767 characters and no control characters: longer answers are cut, others replaced.

    Args:
        answers: what to write.
        out: the folder.

    Raises:
        ImportError: openpyxl is not there.
    """
    try:
        import openpyxl
        from openpyxl.cell import WriteOnlyCell
    except ImportError as error:
        raise ImportError("--export vlmevalkit writes .xlsx, which needs openpyxl: pip install openpyxl") from error
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("ALL")
    records = [_sheet_record(i, one) for i, one in enumerate(answers.predictions)]
    sheet.append(list(records[0]) if records else [])
    for record in records:
        cells = [WriteOnlyCell(sheet, value) for value in record.values()]
        for cell in cells:
            if isinstance(cell.value, str):
                cell.data_type = "s"  # an answer that begins with = is no formula
        sheet.append(cells)
    name = f"{answers.file_name}_VSI-Bench{'' if answers.subset == 'full' else '-Debiased'}_32frame"
    with atomic_path(out / f"{name}.xlsx") as temporary:
        book.save(temporary)
    return [out / f"{name}.xlsx"]


def _sheet_record(number: int, one: Prediction) -> dict[str, Any]:
    """A row; `type` is what the first version called `question_type`.

    Their code takes an empty cell for no text at all, hence the blank.
    """
    return {
        "index": number,
        "id": number_of(one.id),
        "video": one.scene,
        "type": one.task,
        "question_type": one.task,
        "question": one.question,
        "answer": one.truth,
        "candidates": str(list(one.options)) if one.options else None,
        "prediction": _ILLEGAL_IN_A_SHEET.sub("\ufffd", one.response) or " ",
    }
