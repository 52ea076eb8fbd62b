"""Where questions are asked, and what an endpoint's errors mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import urlsplit

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


class RequestError(RuntimeError):
    """One request failed.

    Args:
        cause: its kind, for the totals: ``429``, ``timeout``, ``connection``, ``garbage``, ``too large``, ``empty``.
        message: what came, without the API key.
        status: of HTTP; None where none came.
        retry_after: seconds or a date, as the endpoint sent it.
    """

    def __init__(self, cause: str, message: str, status: int | None = None, retry_after: str = "") -> None:  # noqa: D107
        super().__init__(message)
        self.cause, self.status, self.retry_after = cause, status, retry_after


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask.

    Args:
        base_url: ends in ``/v1``; empty where a server is still to be started.
        model: name of the model there.
        key_env: environment variable that holds the API key.
        concurrency: requests at a time.
        retries: further tries of a question.
        timeout: seconds that a request may take, from connecting to the last byte.
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
        """Refuse what could not be asked, and a cap that could not hold."""
        if self.base_url:
            check_url(self.base_url)
        least = {
            "concurrency": 1,
            "retries": 0,
            "timeout": 0,
            "first_wait": 0,
            "price_in": 0,
            "price_out": 0,
            "max_cost": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= bound):
                raise ValueError(f"{name}={value}: it is a finite number of at least {bound}")
        if self.max_cost is not None and not (self.price_in or self.price_out):
            raise ValueError("a cost cap needs prices: give --price-in and --price-out, USD a million tokens")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """USD of a question.

        Args:
            prompt_tokens: as the server counted them.
            completion_tokens: likewise.
        """
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6


def check_url(url: str) -> None:
    """Refuse what is no address of an endpoint; keys in it would land in results.

    Raises:
        ValueError: says which part is wrong.
    """
    wrong = f"--base-url '{url}'"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{wrong}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f"{wrong} is no http or https address; write e.g. http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            f"--base-url {parts.scheme}://{parts.hostname}/... holds a user, a password, '?' or '#'. It would be "
            "written into results: give the key by --key-env, and the address alone"
        )


def is_passing(error: RequestError) -> bool:
    """Whether another try may mend it.

    Raises:
        EndpointError: no try of any question will.
    """
    if error.status in FATAL:
        raise EndpointError(f"{FATAL[error.status]} ({error})") from error
    if error.status is not None and 300 <= error.status < 400:
        raise EndpointError(
            f"the endpoint sends us elsewhere, and questions and key are not taken there ({error}). "
            "If you trust that address, give it as --base-url"
        ) from error
    return error.status is None or error.status in PASSING or error.status >= 500


def wait_before(attempt: int, error: RequestError, first_wait: float) -> float:
    """Seconds until the next try: what the endpoint asks for, else doubled each time.

    Args:
        attempt: number of the try that failed, from 1.
        error: what it raised.
        first_wait: seconds after the first.
    """
    try:
        seconds = float(error.retry_after)
    except ValueError:  # absent, or a date
        seconds = math.nan
    if math.isnan(seconds):
        seconds = first_wait * 2 ** (attempt - 1)
    return min(LONGEST_WAIT, max(0.0, seconds))
