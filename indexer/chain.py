"""The chain as the indexer asks for it: raw JSON-RPC over HTTP, decoded straight into typed values.

The only RPC of this package. web3's log decoding is fifty times slower than `indexer.decoding`, and its transport adds
nothing that reading needs.

    ChainError
    ├── ChainUnavailableError
    │   ├── UnreachableError    no answer, or not one of JSON-RPC: ask again later
    │   └── MalformedError      an answer that is not of the form the execution API promises
    └── ChainAnswerError
        └── RefusedError        an error object; carries its code and message
            ├── TooMuchError    the range asked for is too large for this provider: ask for less
            └── UnsupportedError  the method, tag or state is not there: asking again will not help
"""

import asyncio
import itertools
import re
import time
from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from indexer.decoding import FOLLOWED_TOPICS, RpcLog
from indexer.events import Header
from indexer.state import Identity
from relay.chain_limits import rate_limited, retry_after_s
from relay.chain_types import Block, ChainAnswerError, ChainUnavailableError, Look
from relay.contract import TOPICS, RulesPublished, decode_log, decode_result, encode_call
from relay.keccak import keccak

T = TypeVar("T")

TIMEOUT_S = 20.0
BATCH_MAX = 100
# How the providers in use word "the range is too large"; their codes differ more than their words do.
TOO_MUCH = re.compile(
    r"too many|more than \d+ (results|logs|blocks)|query returned|exceed|too large|limit|block range|timed? ?out",
    re.IGNORECASE,
)
RATE_STATUSES = {429, 503}
UNSUPPORTED_CODES = {-32601, -32004}  # method not found (JSON-RPC 2.0), method not supported (EIP-1474)


class UnreachableError(ChainUnavailableError):
    """No answer, or not one of JSON-RPC."""


class RefusedError(ChainAnswerError):
    """The provider answered with an error object."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message, None)


class TooMuchError(RefusedError):
    """The range asked for is too large for this provider."""


class UnsupportedError(RefusedError):
    """The provider does not have this method, tag or state."""


class MalformedError(ChainUnavailableError):
    """The answer is not of the form the execution API promises."""


class RpcBlock(msgspec.Struct, rename="camel"):
    """A block's header as JSON-RPC gives it; what is not needed is skipped while parsing."""

    number: str
    hash: str
    parent_hash: str
    timestamp: str


class RpcFault(msgspec.Struct):
    """The error object of JSON-RPC 2.0."""

    code: int
    message: str = ""


class Answer(msgspec.Struct, Generic[T]):
    """A response object of JSON-RPC 2.0."""

    id: int | str | None = None
    result: T | None = None
    error: RpcFault | None = None


class Rpc:
    """One JSON-RPC endpoint. The URL may carry a token: it is in no message and no repr."""

    def __init__(self, url: str, contract: bytes, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._serial = itertools.count(1)
        self._batches = True
        self.contract = "0x" + contract.hex()
        self._contract = contract
        self.calls = 0

    def __repr__(self) -> str:
        return f"Rpc({urlsplit(self._url).hostname})"

    async def close(self) -> None:
        """Drop the connections; the next call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # ------------------------------------------------------------------ what is asked

    async def identity(self) -> Identity:
        """Return which chain this is and which code the contract has there.

        Raises:
            ChainError: unreachable, or there is no code at the contract's address.
        """
        chain_id, genesis, code = await asyncio.gather(
            self._call("eth_chainId", [], str),
            self.header(0),
            self._call("eth_getCode", [self.contract, "latest"], str),
        )
        if chain_id is None or genesis is None or code is None:
            raise MalformedError("the provider names no chain id, no first block or no code")
        if len(code) <= 2:
            raise RefusedError(0, f"there is no contract at {self.contract} on chain {int(chain_id, 16)}")
        return Identity(int(chain_id, 16), genesis.hash, self._contract, keccak(bytes.fromhex(code[2:])))

    async def look(self, heights: Sequence[int]) -> Look:
        """Return what this endpoint shows of its chain: id, newest block, the blocks at these heights that it has."""
        chain_id, head, found = await asyncio.gather(
            self._call("eth_chainId", [], str), self.head(), self.headers(heights)
        )
        if chain_id is None:
            raise MalformedError("the provider names no chain id")
        return Look(int(chain_id, 16), as_block(head), {one.number: one.hash for one in found if one is not None})

    async def head(self) -> Header:
        """Return the newest block."""
        found = await self._call("eth_getBlockByNumber", ["latest", False], RpcBlock)
        if found is None:
            raise MalformedError("the provider has no latest block")
        return _header(found)

    async def header(self, number: int) -> Header | None:
        """Return one block, None where the provider does not have it."""
        return (await self.headers([number]))[0]

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Return some blocks in the order asked for, None for each that the provider does not have."""
        asked = [("eth_getBlockByNumber", [hex(number), False]) for number in numbers]
        found = await self._many(asked, RpcBlock)
        headers = [None if block is None else _header(block) for block in found]
        for number, header in zip(numbers, headers, strict=True):
            if header is not None and header.number != number:
                raise MalformedError(f"block {number} was asked for and {header.number} given")
        return headers

    async def logs(self, first: int, last: int) -> list[RpcLog]:
        """Return the contract's logs that standings are made of, in the blocks `first` to `last`.

        Raises:
            TooMuchError: the provider wants a smaller range.
        """
        asked = {
            "address": self.contract,
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "topics": [FOLLOWED_TOPICS],
        }
        return await self._call("eth_getLogs", [asked], list[RpcLog]) or []

    async def published_rules(self, game: bytes, rules_hash: bytes, first: int, last: int) -> bytes | None:
        """Return the rules document that the contract published under a hash for a game in a range of blocks, if any.

        Raises:
            TooMuchError: the provider wants a smaller range.
        """
        topics = ["0x" + topic.hex() for topic in (TOPICS["RulesPublished"], game, rules_hash)]
        asked = {"address": self.contract, "fromBlock": hex(first), "toBlock": hex(last), "topics": topics}
        for log in await self._call("eth_getLogs", [asked], list[RpcLog]) or []:
            try:
                event = decode_log([bytes.fromhex(topic[2:]) for topic in log.topics], bytes.fromhex(log.data[2:]))
            except ValueError as error:
                raise MalformedError("a malformed RulesPublished was given") from error
            if isinstance(event, RulesPublished):
                return event.document
        return None

    async def finalized(self) -> int | None:
        """Return the newest finalised block's number, None where the chain has no such notion."""
        try:
            found = await self._call("eth_getBlockByNumber", ["finalized", False], RpcBlock)
        except RefusedError:
            return None
        return None if found is None else int(found.number, 16)

    async def heads(self, games: Sequence[bytes], block: int) -> dict[bytes, bytes] | None:
        """Return the contract's own head of each game after `block`, None where its state is no longer at hand."""
        calls: list[tuple[str, list[object]]] = [
            ("eth_call", [{"to": self.contract, "data": "0x" + encode_call("head", game).hex()}, hex(block)])
            for game in games
        ]
        try:
            found = await self._many(calls, str)
        except RefusedError:
            return None
        if any(one in {None, "0x"} for one in found):
            return None  # "0x": the contract was not there yet
        try:
            words = [decode_result("head", bytes.fromhex(one[2:])) for one in found if one is not None]
        except (ChainAnswerError, ValueError) as error:
            raise MalformedError("head() of the contract did not answer 32 bytes") from error
        return dict(zip(games, words, strict=True))

    # ---------------------------------------------------------------------- transport

    async def _call(self, method: str, params: list[Any], kind: type[T]) -> T | None:
        body = msgspec.json.encode(self._request(method, params))
        answer = _parse(await self._post(body), Answer[kind])  # type: ignore[valid-type]
        return _result(answer)

    async def _many(self, calls: Sequence[tuple[str, list[Any]]], kind: type[T]) -> list[T | None]:
        """Ask many things at once: as batches where the provider takes them, else side by side."""
        if len(calls) == 1 or not self._batches:
            return list(await asyncio.gather(*(self._call(method, params, kind) for method, params in calls)))
        parts = [calls[start : start + BATCH_MAX] for start in range(0, len(calls), BATCH_MAX)]
        found: list[T | None] = []
        for part in parts:
            found += await self._batch(part, kind)
        return found

    async def _batch(self, calls: Sequence[tuple[str, list[Any]]], kind: type[T]) -> list[T | None]:
        requests = [self._request(method, params) for method, params in calls]
        raw = await self._post(msgspec.json.encode(requests))
        if not raw.lstrip().startswith(b"["):
            self._batches = False  # this provider takes no batches; a real refusal comes again with the single calls
            return await self._many(calls, kind)
        answers = {answer.id: answer for answer in _parse(raw, list[Answer[kind]])}  # type: ignore[valid-type]
        missing = [request["id"] for request in requests if request["id"] not in answers]
        if missing:
            raise MalformedError(f"{len(missing)} of {len(requests)} answers of a batch are missing")
        return [_result(answers[request["id"]]) for request in requests]

    def _request(self, method: str, params: list[Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._serial), "method": method, "params": params}

    async def _post(self, body: bytes) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        self.calls += 1
        try:
            async with self._session.post(self._url, data=body, headers={"Content-Type": "application/json"}) as answer:
                raw = await answer.read()
        except (aiohttp.ClientError, OSError, RuntimeError) as error:  # a timeout is an OSError; RuntimeError: closed
            raise UnreachableError(f"the provider does not answer ({type(error).__name__})") from None
        if answer.status in RATE_STATUSES or (answer.status >= 400 and not raw.lstrip().startswith((b"{", b"["))):
            wait_s = retry_after_s(answer.headers.get("retry-after"), time.time())
            raise UnreachableError(
                f"the provider answered HTTP {answer.status}", status=answer.status, retry_after_s=wait_s
            )
        return raw


def _parse(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:  # ValidationError included
        raise MalformedError(f"the provider's answer is not what was asked for: {error}") from error


def _result(answer: Answer[T]) -> T | None:
    fault = answer.error
    if fault is None:
        return answer.result
    if rate_limited(fault.code, fault.message):
        raise UnreachableError("the provider limits the rate")
    if fault.code in UNSUPPORTED_CODES:
        raise UnsupportedError(fault.code, fault.message)
    if TOO_MUCH.search(fault.message):
        raise TooMuchError(fault.code, fault.message)
    raise RefusedError(fault.code, fault.message)


def _header(block: RpcBlock) -> Header:
    try:
        return Header(
            int(block.number, 16),
            bytes.fromhex(block.hash[2:]),
            bytes.fromhex(block.parent_hash[2:]),
            int(block.timestamp, 16),
        )
    except ValueError as error:
        raise MalformedError("a block without proper numbers") from error


def as_block(header: Header) -> Block:
    """Return a header as the values providers are compared by; what the indexer does not read is left empty."""
    return Block(header.number, header.hash, header.parent, header.time_s, None, 0)
