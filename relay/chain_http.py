"""JSON-RPC 2.0 over HTTP to one endpoint: what is an answer and what is none, batches, steady rate, Retry-After.

Touches the endpoint and the clock. Nothing is retried here, except that what an endpoint refuses for its size is asked
for in smaller parts. web3's transport is not used: it drops the bodies of HTTP errors, in which endpoints explain
themselves, and guesses which answer of a batch belongs to which call. The URL may carry a token: nothing shows it.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout

from relay.chain_limits import SIZE_STATUSES, EndpointLimits, batch_refused, pace, rate_limited, retry_after_s
from relay.chain_types import ChainAnswerError, ChainUnavailableError

Call: TypeAlias = tuple[str, Sequence[object]]

HEADERS = {"content-type": "application/json"}
SINGLES_AT_ONCE = 8  # where an endpoint takes no batches
WAIT_S_MAX = 2.0  # a shorter rest that an endpoint asks for is waited for; during a longer one the caller is told


class BatchRefusedError(Exception):
    """The endpoint does not take so many calls in one request."""


class HttpRpc:
    """One endpoint. Raises ChainUnavailableError where no usable answer comes, ChainAnswerError for error objects."""

    def __init__(self, url: str, timeout_s: float, limits: EndpointLimits) -> None:
        self._url = url
        self._timeout = ClientTimeout(total=timeout_s)
        self._limits = limits
        self._session: ClientSession | None = None
        self._due = 0.0  # when the steady rate allows the next request
        self._not_before = 0.0  # until when the endpoint asked to be left alone
        self.batch_calls = limits.batch_start  # shrinks when it is refused, for good

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(self, method: str, params: Sequence[object]) -> Any:  # a result is any JSON
        """One call; returns its `result`."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = _read(await self._post(body, 1))
        if isinstance(answer, ChainAnswerError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Several calls in as few requests as the endpoint allows; an error object is a ChainAnswerError in its place.

        Answers are in the order of the calls.
        """
        results: list[Any] = []
        while len(results) < len(calls):
            size = self.batch_calls
            if size == 1:
                part = calls[len(results) : len(results) + SINGLES_AT_ONCE]
                results += await asyncio.gather(*(self._alone(call) for call in part))
                continue
            part = calls[len(results) : len(results) + size]
            try:
                results += await self._together(part) if len(part) > 1 else [await self._alone(part[0])]
            except BatchRefusedError:
                self.batch_calls = len(part) // 2
        return results

    async def _alone(self, call: Call) -> Any:
        try:
            return await self.request(*call)
        except ChainAnswerError as error:
            return error

    async def _together(self, calls: Sequence[Call]) -> list[Any]:
        body = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(calls)
        ]
        try:
            answers = await self._post(body, len(calls))
        except ChainUnavailableError as error:
            if error.status in SIZE_STATUSES:
                raise BatchRefusedError from None
            raise
        if not isinstance(answers, list):  # one error object for all of them
            if isinstance(_read(answers), ChainAnswerError):
                raise BatchRefusedError
            raise ChainUnavailableError("not an answer to a batch")
        found = {answer.get("id"): _read(answer) for answer in answers if isinstance(answer, dict)}
        if any(isinstance(one, ChainAnswerError) and batch_refused(one.message) for one in found.values()):
            raise BatchRefusedError
        if any(number not in found for number in range(len(calls))):
            raise ChainUnavailableError("a batch was answered in part")
        return [found[number] for number in range(len(calls))]

    async def _post(self, body: object, calls: int) -> Any:
        await self._admitted(calls)
        if self._session is None:
            self._session = ClientSession(timeout=self._timeout)
        try:
            async with self._session.post(self._url, data=msgspec.json.encode(body), headers=HEADERS) as answer:
                raw, status, headers = await answer.read(), answer.status, answer.headers
        except (ClientError, TimeoutError, ValueError, OSError) as error:
            raise ChainUnavailableError(type(error).__name__) from None  # its text would show the URL
        if status in (429, 503):
            wait_s = retry_after_s(headers.get("retry-after"), time.time())
            raise self._resting(f"HTTP {status}", status, wait_s)
        try:
            document = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            document = None
        if status != 200 and not (400 <= status < 500 and _explains(document)):
            raise ChainUnavailableError(f"HTTP {status}", status=status)
        return document

    def _resting(self, what: str, status: int | None, wait_s: float | None) -> ChainUnavailableError:
        if wait_s:
            self._not_before = max(self._not_before, time.monotonic() + wait_s)
        return ChainUnavailableError(what, status=status, retry_after_s=wait_s)

    async def _admitted(self, calls: int) -> None:
        now = time.monotonic()
        rest = self._not_before - now
        if rest > WAIT_S_MAX:
            raise ChainUnavailableError(f"asked to be left alone for {rest:.0f} s more", retry_after_s=rest)
        wait = max(rest, 0.0)
        if self._limits.calls_per_s:
            self._due, steady = pace(self._due, now, calls, self._limits.calls_per_s)
            wait = max(wait, steady)
        if wait:
            await asyncio.sleep(wait)


def _explains(document: object) -> bool:
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def _read(answer: object) -> Any:
    """The result of a response object, or its error; ChainUnavailableError where it is neither."""
    if not isinstance(answer, dict):
        raise ChainUnavailableError("not a JSON-RPC answer")
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            raise ChainUnavailableError("not a JSON-RPC answer")
        return answer["result"]
    if not isinstance(error, dict):
        return ChainAnswerError(0, str(error)[:300], None)
    code = error.get("code")
    code = code if isinstance(code, int) else 0
    message = str(error.get("message", ""))[:300]
    revert = _revert_data(error.get("data"))
    if revert is None and rate_limited(code, message):  # inside HTTP 200, too, it is a refusal to answer
        raise ChainUnavailableError("rate limited")
    return ChainAnswerError(code, message, revert)


def _revert_data(data: object) -> bytes | None:
    """Revert data as nodes give it: hex text (geth, anvil), or inside an object (Hardhat, Ganache)."""
    if isinstance(data, dict):
        data = data.get("data")
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return bytes.fromhex(data[2:])
        except ValueError:
            return None
    return None
