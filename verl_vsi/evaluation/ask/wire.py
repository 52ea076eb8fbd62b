"""One request, bounded: in seconds to its last byte, in bytes, and to the address that was named.

An endpoint may be slow, broken or somebody else's. A time limit between bytes is none for a server that drips, a
redirect would carry a video and a key to another host, and a reply is read by nobody before it ends: so all three are
held here, whatever the endpoint sends.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import httpx

from verl_vsi.data_adapters.untrusted_text import visible
from verl_vsi.evaluation.ask.endpoint import Endpoint, EndpointError, RequestError

LARGEST_REPLY = 8 << 20
"""Bytes of a reply: hundreds of times the longest answer with its reasoning."""
PLAIN = {"Accept": "application/json", "Accept-Encoding": "identity"}
"""Headers of a request; a packed reply may unpack to a thousand times its size."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that no proxy of the environment leads to."""
_QUOTED = 300
"""Characters of a strange reply that a message repeats."""
_SECRET = 16
"""Characters from which on a key is one, and is taken out of what an endpoint echoes; a dummy may be an answer."""


class Wire:
    """Connections to one endpoint, to be used in ``async with``.

    Args:
        endpoint: where and how; its key is read from the environment here, and is in no message.

    Raises:
        EndpointError: the key can't be sent in a header.
    """

    def __init__(self, endpoint: Endpoint) -> None:  # noqa: D107
        self._endpoint, self._key = endpoint, os.environ.get(endpoint.key_env, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise EndpointError(f"the key in ${endpoint.key_env} holds characters that no header takes; copy it again")
        self._http = httpx.AsyncClient(
            headers=PLAIN | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            trust_env=httpx.URL(endpoint.base_url).host not in LOOPBACK,
            timeout=endpoint.timeout,
            limits=httpx.Limits(max_connections=endpoint.concurrency),
            follow_redirects=False,
        )

    async def __aenter__(self) -> Wire:
        """Open."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def complete(self, body: Mapping[str, Any]) -> Any:
        """Ask for a chat completion; returns the reply's JSON, whatever it holds.

        Args:
            body: the request's fields beside the model.

        Raises:
            RequestError: anything but a JSON reply of status 2xx.
        """
        content = await asyncio.to_thread(lambda: json.dumps({"model": self._endpoint.model, **body}).encode())
        try:
            return await asyncio.wait_for(self._post(content), self._endpoint.timeout)
        except (asyncio.TimeoutError, httpx.TimeoutException) as error:
            raise RequestError("timeout", f"no whole reply within {self._endpoint.timeout:g} s") from error
        except httpx.HTTPError as error:
            raise RequestError("connection", self._quotable(f"{error}") or type(error).__name__) from error

    async def _post(self, content: bytes) -> Any:
        url = f"{self._endpoint.base_url.rstrip('/')}/chat/completions"
        headers = {"Content-Type": "application/json"}
        async with self._http.stream("POST", url, content=content, headers=headers) as response:
            received = bytearray()
            if (packing := response.headers.get("content-encoding", "identity")) != "identity":
                raise RequestError("garbage", self._quotable(f"the reply is packed ({packing}), unasked"))
            async for part in response.aiter_raw():
                received += part
                if len(received) > LARGEST_REPLY:
                    raise RequestError("too large", f"a reply of more than {LARGEST_REPLY >> 20} MiB was not read on")
            return self._json(response, self._hidden(bytes(received)))

    def _json(self, response: httpx.Response, received: bytes) -> Any:
        start = self._quotable(received[: 4 * _QUOTED].decode(errors="replace"))
        if not response.is_success:
            target = response.headers.get("location", "")
            message = self._quotable(f"to {target}") if target else start or "without a word"
            retry_after = response.headers.get("retry-after", "")
            raise RequestError(str(response.status_code), message, response.status_code, retry_after)
        try:
            return json.loads(received)
        except (ValueError, RecursionError) as error:
            raise RequestError("garbage", f"the reply is no JSON: {start!r}") from error

    def _hidden(self, received: bytes) -> bytes:
        return received.replace(self._key.encode(), b"***") if len(self._key) >= _SECRET else received

    def _quotable(self, text: str) -> str:
        """What an endpoint said, fit for a journal and a terminal: short, visible, without the key that it echoes."""
        return visible(self._hidden(text.encode(errors="replace")).decode())[:_QUOTED]
