"""Where questions are asked, and what an endpoint's errors mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FATAL = {
    401: "the API key is refused; put it in the environment variable that --key-env names",
    403: "access is denied to this key",
    404: "there is no such model or path; check --model and --base-url (it ends in /v1)",
}
PASSING = (408, 409, 425, 429)
"""Statuses worth another try, beside all of 5xx."""
LONGEST_WAIT = 60.0


class EndpointError(RuntimeError):
    """No question can be answered there: a wrong key, a wrong model, nobody listening."""


class BudgetError(RuntimeError):
    """The cost cap is reached; what was answered is in the journal."""


class GarbageError(RuntimeError):
    """A reply that is no chat completion."""


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask.

    Args:
        base_url: ends in ``/v1``.
        model: name of the model there.
        key_env: environment variable that holds the API key.
        concurrency: requests at a time.
        retries: further tries of a question.
        timeout: seconds a request may take.
        first_wait: seconds before the second try; doubled for each further one.
        price_in: USD a million prompt tokens.
        price_out: USD a million new tokens.
        max_cost: USD; None: no cap.
    """

    base_url: str
    model: str
    key_env: str = "OPENAI_API_KEY"
    concurrency: int = 16
    retries: int = 5
    timeout: float = 600.0
    first_wait: float = 1.0
    price_in: float = 0.0
    price_out: float = 0.0
    max_cost: float | None = None

    def __post_init__(self) -> None:
        """Refuse a cap that could not hold."""
        if self.max_cost is not None and not (self.price_in or self.price_out):
            raise ValueError("a cost cap needs prices: give --price-in and --price-out, USD a million tokens")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """USD of a question.

        Args:
            prompt_tokens: as the server counted them.
            completion_tokens: likewise.
        """
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6


def cause_of(error: Exception) -> str:
    """An error's kind, for the totals: ``429``, ``timeout``, ``connection``, ``garbage``."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return str(error.status_code)
    if isinstance(error, openai.APITimeoutError):
        return "timeout"
    return "connection" if isinstance(error, openai.APIConnectionError) else "garbage"


def is_passing(error: Exception) -> bool:
    """Whether another try may mend it.

    Raises:
        EndpointError: no try of any question will.
    """
    status: Any = getattr(error, "status_code", None)
    if status in FATAL:
        raise EndpointError(f"{FATAL[status]} ({error})") from error
    return status is None or status in PASSING or status >= 500


def wait_before(attempt: int, error: Exception, first_wait: float) -> float:
    """Seconds until the next try: what the endpoint asks for, else doubled each time.

    Args:
        attempt: number of the try that failed, from 1.
        error: what it raised.
        first_wait: seconds after the first.
    """
    response = getattr(error, "response", None)
    retry_after = response.headers.get("retry-after", "") if response is not None else ""
    try:
        return min(LONGEST_WAIT, max(0.0, float(retry_after)))
    except ValueError:  # absent, or a date
        return min(LONGEST_WAIT, first_wait * 2 ** (attempt - 1))
