"""Tell the story: run its phases, then show what came out."""

from __future__ import annotations

from rich.console import Console

from verl_vsi.evaluation.curves import read_run
from verl_vsi.evaluation.repeats import differences
from verl_vsi.evaluation.report import Contents, tables
from verl_vsi.evaluation.report_files import write_report
from verl_vsi.evaluation.tables import terminal_table
from verl_vsi.miniature.phases import run_phases
from verl_vsi.miniature.story import Story, data_phases, evaluation_phase, training_phases
from verl_vsi.miniature.summary import best_model, results, write_summary

OPENING = """The paper's experiment in miniature: rendered rooms for ScanNet, a 1 M parameter Qwen2-VL for 2B and 7B,
this machine's CPU for GPUs. verl, Ray, FSDP2 and vLLM are the real ones. Logs: {logs}"""


def tell(story: Story, console: Console) -> None:
    """Run what is not done yet, then print the table and write report.json and the pictures.

    Raises:
        PhaseError: a phase failed; what is done is kept.
    """
    console.print(OPENING.format(logs=story.folder / "logs"))
    phases = [*data_phases(story), evaluation_phase(story, "base"), *training_phases(story)]
    phases += [evaluation_phase(story, model) for model in ("sft", "vsgrpo")]
    seconds = run_phases(phases, story.folder, console)
    best = best_model(story)
    seconds |= run_phases([evaluation_phase(story, best, ("shuffled", "blind"))], story.folder, console)
    report = write_summary(story, best, seconds)
    _show(story, best, console)
    console.print(f"{sum(seconds.values()):.0f} s in all; {report}")


def _show(story: Story, best: str, console: Console) -> None:
    found = list(results(story, best).values())
    runs = [read_run(story.folder / name, name) for name in ("sft", "vsgrpo")]
    contents = Contents(found, runs, differences=differences(found, ("base",)))
    for title, rows in tables(contents).items():
        console.print(terminal_table(rows, title))
    for path in write_report(story.folder / "report", contents):
        console.print(f"[dim]written: {path}[/dim]", soft_wrap=True)
