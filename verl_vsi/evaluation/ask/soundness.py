"""Whether answers are the model's result, or something else's failure: a dead server and NaN weights score 0, too."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from verl_vsi.data_adapters.untrusted_text import visible
from verl_vsi.evaluation.items import Item, Reply
from verl_vsi.evaluation.protocol import Protocol
from verl_vsi.evaluation.score.grade import Answer, grade
from verl_vsi.evaluation.task_columns import column_of

HOPELESS = 64
"""Answers of which none can be read before an evaluation stops; a model that answers at all is read now and then."""
_QUOTED = 80


class UnsoundError(RuntimeError):
    """No result is written: requests failed for a reason that is not the model's, or nothing could be read."""


def check_answered(answers: Sequence[Answer]) -> None:
    """Every question has been answered by the model, if only by silence or a refusal.

    Args:
        answers: of all questions.

    Raises:
        UnsoundError: some failed; says how many, why, and which first.
    """
    failed = [answer for answer in answers if answer.status == "failed"]
    if not failed:
        return
    causes = Counter(answer.error.partition(":")[0] for answer in failed).most_common(3)
    raise UnsoundError(
        f"{len(failed)} of {len(answers)} questions got no answer, and not by the model's doing "
        f"({', '.join(f'{cause} {count} times' for cause, count in causes)}). The first: row {failed[0].index}, scene "
        f"'{visible(failed[0].scene_id)}': {failed[0].error}. No result is written. Mend that and run the same "
        "command: answers are kept, and only these are asked again; or add --incomplete, and they score 0"
    )


def check_readable(answers: Sequence[Answer], journal: Path) -> None:
    """At least one answer could be read, where the model wrote any.

    Blind, a model may well write nothing that answers: unless something is plainly broken, that is a result.

    Args:
        answers: those that have come.
        journal: where they are kept.

    Raises:
        UnsoundError: none could; shows what came, with the likely cause.
    """
    written = [answer for answer in answers if answer.status in ("ok", "empty")]
    if not written or not all(answer.unparsed for answer in written):
        return
    fault = _fault(written)
    if fault is None and written[0].video is None:
        return
    first = written[0].response[:_QUOTED] or f"({written[0].error or 'nothing'})"
    raise UnsoundError(
        f"none of {len(written)} answers can be read as one; the first: '{visible(first)}'. "
        f"{fault or _likely_cause(written)}. "
        f"No result is written. Remove {journal} to ask again, or add --incomplete to write it as it is"
    )


def _fault(answers: Sequence[Answer]) -> str | None:
    """What is plainly broken, whatever the model was shown; None: nothing."""
    texts = [answer.response.strip() for answer in answers]
    if not any(texts):
        return "The model writes nothing: look at its chat template, and at the server's log"
    if all(len(set(text)) <= 1 for text in texts):
        return "Each is one character, again and again: weights that are not finite (NaN), or damaged, do that"
    if len(set(texts)) == 1 and len(answers) > 1:
        return "All are the same text: the model does not see the questions, or its weights are damaged"
    return None


def _likely_cause(answers: Sequence[Answer]) -> str:
    if sum(answer.truncated for answer in answers) > len(answers) / 2:
        return "Most were cut short: raise --max-tokens"
    return "The prompts or the reading may not be this model's: look at --preset, --mode and --extraction"


class RunningScore:
    """The average over the tasks seen so far; an estimate, since questions come scene by scene.

    Args:
        items: questions by index.
        protocol: how answers are read.
        replies: those of earlier starts.

    Attributes:
        answers: the first `HOPELESS` of them.
    """

    def __init__(self, items: Mapping[int, Item], protocol: Protocol, replies: Iterable[Reply] = ()) -> None:  # noqa: D107
        self._items, self._protocol = items, protocol
        self._scores: dict[str, list[float]] = defaultdict(list)
        self.answers: list[Answer] = []
        for reply in replies:
            self.add(reply)

    def add(self, reply: Reply) -> None:
        """Count a reply, unless none came."""
        item = self._items.get(reply.index)
        if item is None or reply.status == "failed":
            return
        answer = grade(item, reply, self._protocol)
        self._scores[column_of(item.task)].append(answer.score)
        if len(self.answers) < HOPELESS:
            self.answers.append(answer)

    @property
    def text(self) -> str:
        """For the bar."""
        means = [sum(scores) / len(scores) for scores in self._scores.values()]
        return f"score so far {100 * sum(means) / len(means):.1f}" if means else ""
