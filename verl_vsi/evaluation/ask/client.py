"""Ask an OpenAI-compatible endpoint: bounded concurrency, retries, a cost cap. No question is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from verl_vsi.data_adapters.untrusted_text import visible
from verl_vsi.evaluation.ask.endpoint import (
    BudgetError,
    Endpoint,
    EndpointError,
    RequestError,
    is_passing,
    wait_before,
)
from verl_vsi.evaluation.ask.replies import read_reply
from verl_vsi.evaluation.ask.wire import Wire
from verl_vsi.evaluation.items import Reply

IN_A_ROW = 16
"""Questions that fail one after the other before the endpoint is taken to be down."""
OF_THE_QUESTION = ("400", "413", "422")
"""Causes that one question may have, such as a prompt that is too long, where others are answered."""


@dataclass(frozen=True)
class Query:
    """One question to be asked.

    Args:
        index: its row.
        build: makes the request's fields (in a thread: it encodes a video). What it raises
            is recorded as the question's failure.
    """

    index: int
    build: Callable[[], dict[str, Any]]


@dataclass
class Totals:
    """What happened on the wire in this start.

    Args:
        requests: sent.
        spent: USD, earlier starts included.
        errors: failed requests by cause; a question behind one of them may have been answered on a later try.
    """

    requests: int = 0
    spent: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)


class Client:
    """Asks one endpoint.

    Args:
        endpoint: where and how.
        spent: USD of earlier starts of the same evaluation.
        gives_up: stop where nothing comes back any more; else every question is tried to the end.
    """

    def __init__(self, endpoint: Endpoint, spent: float = 0.0, gives_up: bool = True) -> None:  # noqa: D107
        self.endpoint = endpoint
        self.totals = Totals(spent=spent)
        self._gives_up, self._has_answered = gives_up, False
        self._highest_cost, self._running, self._failed_in_a_row, self._stopped = 0.0, 0, 0, False

    async def ask_all(self, queries: Iterable[Query], keep: Callable[[Reply], None]) -> None:
        """Ask every query.

        Args:
            queries: taken one at a time, as requests come free.
            keep: is handed each reply as it comes.

        Raises:
            EndpointError: the endpoint refuses us, or nothing comes back any more.
            BudgetError: the next question might exceed the cap. Replies under way are handed out first.
        """
        endpoint, waiting = self.endpoint, iter(queries)
        async with Wire(endpoint) as wire:
            if endpoint.max_cost is not None:  # the first goes alone and tells the price
                await self._work(wire, waiting, keep, alone=True)
            await _together([self._work(wire, waiting, keep, alone=False) for _ in range(endpoint.concurrency)])
        if self._stopped:
            raise BudgetError(
                f"{self.totals.spent:.4f} USD are spent and another question may cost {self._highest_cost:.4f}: "
                f"the cap of {endpoint.max_cost:g} is reached. Raise --max-cost and run the same command: "
                "it goes on from here"
            )

    async def _work(self, wire: Wire, waiting: Iterator[Query], keep: Callable[[Reply], None], alone: bool) -> None:
        for query in waiting:
            if self._would_exceed():
                self._stopped = True
                return
            self._running += 1
            try:
                keep(self._counted(await self._ask(wire, query)))
            finally:
                self._running -= 1
            if alone:
                return

    def _would_exceed(self) -> bool:
        cap = self.endpoint.max_cost
        return cap is not None and self.totals.spent + (self._running + 1) * self._highest_cost > cap

    def _counted(self, reply: Reply) -> Reply:
        """Stop where nothing comes back any more: a dead server is not a wrong answer."""
        if reply.status != "failed":
            self._has_answered, self._failed_in_a_row = True, 0
        elif reply.attempts and not (self._has_answered and reply.error.startswith(OF_THE_QUESTION)):
            self._failed_in_a_row += 1
        if self._gives_up and self._failed_in_a_row >= IN_A_ROW:
            raise EndpointError(
                f"{IN_A_ROW} questions in a row failed at {self.endpoint.base_url}; "
                f"the last: {reply.error.rstrip('.')}. "
                "Mend that and run the same command: answered questions are kept, failed ones are asked again last"
            )
        return reply

    async def _ask(self, wire: Wire, query: Query) -> Reply:
        try:
            request = await asyncio.to_thread(query.build)
        except Exception as error:  # whatever a broken video makes of a library: the other questions are asked
            return Reply(query.index, "failed", attempts=0, error=visible(f"{type(error).__name__}: {error}")[:500])
        for attempt in range(1, self.endpoint.retries + 2):
            self.totals.requests += 1
            try:
                reply = read_reply(query.index, attempt, await wire.complete(request))
            except RequestError as error:
                self.totals.errors[error.cause] += 1
                if not is_passing(error) or attempt > self.endpoint.retries:
                    return Reply(query.index, "failed", attempts=attempt, error=f"{error.cause}: {error}")
                await asyncio.sleep(wait_before(attempt, error, self.endpoint.first_wait))
            else:
                self._pay(reply.prompt_tokens, reply.completion_tokens)
                return reply
        raise AssertionError("every try either returns or waits")

    def _pay(self, prompt_tokens: int, new_tokens: int) -> None:
        cost = self.endpoint.cost(prompt_tokens, new_tokens)
        if self.endpoint.max_cost is not None and not prompt_tokens:
            raise EndpointError("the endpoint counts no tokens, so the cost cap can't be held; go without --max-cost")
        self.totals.spent += cost
        self._highest_cost = max(self._highest_cost, cost)


async def _together(workers: list[Any]) -> None:
    """Run to the end; where one fails, the others are stopped and its error is raised."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
