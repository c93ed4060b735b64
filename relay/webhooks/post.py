"""One delivery: a POST, and what the receiver's answer means.

Touches the network. Whatever the receiver does, an attempt ends within its time and takes a few kilobytes: redirects
are not followed, the status is the answer, and of the body only a little is read, so that the connection can be used
again.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp

DRAIN_BYTES, DRAIN_S = 16_384, 1.0
GONE = 410
HEADERS = {"content-type": "application/json", "user-agent": "fairscore-webhooks"}


class Answer(NamedTuple):
    """What came of an attempt. `status` None: no answer; `retry_after_ms`: how long the receiver asks for peace."""

    status: int | None
    detail: str
    retry_after_ms: int = 0

    @property
    def taken(self) -> bool:
        """The receiver has the event."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """The receiver wants no more of this hook."""
        return self.status == GONE


class Post:
    """Posts messages; holds the connections. `start` and `stop` belong to one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Post":
        """Open the pool of connections."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30),  # a deliverer sends so many at a time
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=HEADERS,
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def __call__(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
        """Post `body`; returns within `timeout_s`, whatever happens, and never raises for what a receiver does."""
        if self._session is None:
            raise RuntimeError("not started")
        answer: Answer | None = None
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.post(url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                answer = Answer(response.status, f"answered {response.status}", _retry_after_ms(response.headers))
                await _drain(response)
        except TimeoutError:
            return answer or Answer(None, f"did not answer within {timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return answer or Answer(None, _reason(error))
        return answer


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a short body; a long or slow one is cut off with its connection. The answer stands either way."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(DRAIN_S):
            await response.content.read(DRAIN_BYTES)
    if not response.content.at_eof():
        response.close()


def _reason(error: Exception) -> str:
    """Say what went wrong without the address: aiohttp's texts quote it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not valid"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return f"cannot be reached ({os.strerror(number) if number else type(error.os_error).__name__})"
    return f"no usable answer ({type(error).__name__})"


def _retry_after_ms(headers: Mapping[str, str]) -> int:
    """Read Retry-After (RFC 9110, section 10.2.3): seconds or a date; what cannot be read counts as absent."""
    given = headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit():
        return min(int(given[:9]), 10**6) * 1000
    try:
        at = parsedate_to_datetime(given)
    except (ValueError, TypeError):
        return 0
    return max(0, int((at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds() * 1000))
