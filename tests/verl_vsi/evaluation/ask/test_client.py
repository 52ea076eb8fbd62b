from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from verl_vsi.evaluation.ask.client import IN_A_ROW, Client, Query
from verl_vsi.evaluation.ask.endpoint import BudgetError, Endpoint, EndpointError
from verl_vsi.evaluation.items import Reply


def query(index: int) -> Query:
    return Query(index, lambda: {"messages": [{"role": "user", "content": [{"type": "text", "text": str(index)}]}]})


def number(request: dict[str, Any]) -> int:
    return int(request["messages"][0]["content"][0]["text"])


def ask(base_url: str, indices: Sequence[int], **settings: Any) -> tuple[dict[int, Reply], Client]:
    client = Client(Endpoint(base_url, "m", **({"retries": 4, "first_wait": 0.01, "timeout": 5.0} | settings)))
    replies: list[Reply] = []
    asyncio.run(client.ask_all([query(i) for i in indices], replies.append))
    assert len({r.index for r in replies}) == len(replies)
    return {r.index: r for r in replies}, client


def test_slow_failing_garbling_refusing_and_limiting_loses_no_question(
    start_endpoint: Callable[..., Any], completion: Callable[..., str]
) -> None:
    """Each kind of trouble by the question's number; the totals say what happened."""

    def answer(request: dict[str, Any], before: int) -> tuple[int, dict[str, str], str]:
        good = (200, {}, completion("4"))
        kind = number(request) % 10
        if kind == 1:  # slow
            time.sleep(0.2)
        if kind == 2 and before < 2:  # passing error
            return 500, {}, "oops"
        if kind == 3 and before < 1:  # rate limit that says when
            return 429, {"Retry-After": "0.05"}, '{"error": {"message": "slow down"}}'
        if kind == 4 and before < 1:  # a proxy's page
            return 200, {"Content-Type": "text/html"}, "<html>be right back</html>"
        if kind == 5 and before < 1:  # half a JSON
            return 200, {}, '{"choices": [{"mess'
        if kind == 6:
            return 200, {}, completion(None, refusal="I can't help with that")
        if kind == 7:  # never mends
            return 503, {}, "down"
        if kind == 8:  # this one question is bad
            return 400, {}, '{"error": {"message": "prompt too long"}}'
        if kind == 9 and before < 1:  # hangs up
            return 0, {}, ""
        return good

    replies, client = ask(start_endpoint(answer).base_url, range(100), concurrency=8)
    assert set(replies) == set(range(100))
    assert Counter(r.status for r in replies.values()) == {"ok": 70, "refused": 10, "failed": 20}
    assert all(replies[i].text == "4" for i in range(100) if i % 10 < 6)
    assert {replies[i].attempts for i in range(2, 100, 10)} == {3}
    assert {replies[i].attempts for i in range(7, 100, 10)} == {5}
    assert {replies[i].attempts for i in range(8, 100, 10)} == {1}
    assert "prompt too long" in replies[8].error
    assert "can't help" in replies[6].error
    assert client.totals.errors == {"500": 20, "429": 10, "garbage": 20, "503": 50, "400": 10, "connection": 10}
    assert client.totals.requests == 100 + 20 + 10 + 20 + 40 + 10


def test_a_request_that_never_ends_is_given_up_and_said(
    start_endpoint: Callable[..., Any], completion: Callable[..., str]
) -> None:
    def answer(request: dict[str, Any], before: int) -> tuple[int, dict[str, str], str]:
        time.sleep(6 if number(request) == 0 else 0)
        return 200, {}, completion("4")

    replies, client = ask(start_endpoint(answer).base_url, range(3), timeout=2.0, retries=0)
    assert [replies[i].status for i in range(3)] == ["failed", "ok", "ok"]
    assert client.totals.errors == {"timeout": 1}


def test_no_more_requests_run_at_once_than_was_said(
    start_endpoint: Callable[..., Any], completion: Callable[..., str]
) -> None:
    def answer(request: dict[str, Any], before: int) -> tuple[int, dict[str, str], str]:
        time.sleep(0.01)
        return 200, {}, completion("4")

    endpoint = start_endpoint(answer)
    ask(endpoint.base_url, range(60), concurrency=3)
    assert endpoint.most_at_once <= 3


@pytest.mark.parametrize(("status", "message"), [(401, "--key-env"), (403, "denied"), (404, "--model")])
def test_an_endpoint_that_refuses_us_stops_the_run_at_once(
    start_endpoint: Callable[..., Any], status: int, message: str
) -> None:
    endpoint = start_endpoint(lambda request, before: (status, {}, '{"error": {"message": "no"}}'))
    with pytest.raises(EndpointError, match=message):
        ask(endpoint.base_url, range(50), concurrency=2)
    assert len(endpoint.requests) <= 4


def test_a_dead_endpoint_is_no_wrong_answer(start_endpoint: Callable[..., Any]) -> None:
    endpoint = start_endpoint(lambda request, before: (500, {}, "dead"))
    with pytest.raises(EndpointError, match=f"{IN_A_ROW} questions in a row"):
        ask(endpoint.base_url, range(100), concurrency=4, retries=1)


def test_the_cap_stops_before_it_is_exceeded_and_keeps_what_came(
    start_endpoint: Callable[..., Any], completion: Callable[..., str]
) -> None:
    endpoint = start_endpoint(
        lambda request, before: (200, {}, completion("4"))
    )  # 1000 prompt tokens: .001 USD a question
    client = Client(Endpoint(endpoint.base_url, "m", concurrency=8, price_in=1.0, max_cost=0.0205))
    replies: list[Reply] = []
    with pytest.raises(BudgetError, match="Raise --max-cost"):
        asyncio.run(client.ask_all([query(i) for i in range(100)], replies.append))
    assert len(replies) == 20
    assert client.totals.spent == pytest.approx(0.020)


def test_a_cap_without_prices_is_refused() -> None:
    with pytest.raises(ValueError, match="--price-in"):
        Endpoint("http://x/v1", "m", max_cost=1.0)


def test_what_can_not_be_built_is_recorded_as_failed(
    start_endpoint: Callable[..., Any], completion: Callable[..., str]
) -> None:
    def broken() -> dict[str, Any]:
        raise OSError("video 'a.mp4' is cut short")

    endpoint = start_endpoint(lambda request, before: (200, {}, completion("4")))
    replies: list[Reply] = []
    asyncio.run(Client(Endpoint(endpoint.base_url, "m")).ask_all([Query(0, broken), query(1)], replies.append))
    assert {r.index: r.status for r in replies} == {0: "failed", 1: "ok"}
    assert "cut short" in {r.index: r.error for r in replies}[0]
