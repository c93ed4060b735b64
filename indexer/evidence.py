"""What the published evidence of a score says: which submission it was, and how well it was checked.

Touches the relay's HTTP API in `HttpEvidence`; the other source is in `indexer.store.evidence`. Evidence is looked up
by its hash and believed only if its keccak-256 is that hash, so it does not matter whom it comes from. Not finding it
is no error: the score stands on the chain, and is shown without it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple, Protocol

import aiohttp
import msgspec

from indexer.fold import Evidence
from relay.keccak import keccak
from relay.strict_json import nested_deeply

SIDE_BY_SIDE = 16
BODY_MAX = 2 * 1024 * 1024  # bytes: a replay's evidence is at most 1 MiB
CHUNK = 64 * 1024
TIMEOUT_S = 2.0


class Bodies(NamedTuple):
    """What was published under some hashes, byte for byte, and which hashes were not answered for at all."""

    found: dict[bytes, bytes]
    unanswered: frozenset[bytes]


class EvidenceSource(Protocol):
    """Where evidence can be had."""

    quick: bool  # so near that even thousands of lookups during a backfill are worth it

    async def find(self, hashes: Sequence[bytes]) -> dict[bytes, Evidence]:
        """Return what is found in time, by hash; never raises for what is not."""

    async def close(self) -> None:
        """Let go of connections."""


class Document(msgspec.Struct, rename="camel"):
    """The two fields of an evidence document that standings show; the rest is skipped while parsing.

    Who can sign a score chooses its evidence, so the fields are no more than a row of any database holds.
    """

    submission_id: Annotated[str, msgspec.Meta(max_length=128, pattern=r"\A[!-~]*\Z")] | None = None
    evidence_level: Annotated[int, msgspec.Meta(ge=0, le=9)] | None = None


_decode = msgspec.json.Decoder(Document).decode


def read(evidence_hash: bytes, body: bytes) -> Evidence | None:
    """Return what a document says; None if it is not the one with this hash, or not one of evidence."""
    if keccak(body) != evidence_hash or nested_deeply(body):
        return None
    try:
        document = _decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return Evidence(document.submission_id, document.evidence_level)


def read_all(found: Iterable[tuple[bytes, bytes]]) -> dict[bytes, Evidence]:
    """Return what some (hash, document) pairs say, without those that are not what they claim to be."""
    read_ones = ((evidence_hash, read(evidence_hash, body)) for evidence_hash, body in found)
    return {evidence_hash: evidence for evidence_hash, evidence in read_ones if evidence is not None}


class HttpEvidence:
    """Evidence from a relay's `GET /api/evidence/{hash}`."""

    quick = False

    def __init__(self, relay_url: str) -> None:
        self._url = relay_url.rstrip("/") + "/api/evidence/0x"
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(SIDE_BY_SIDE)

    async def find(self, hashes: Sequence[bytes]) -> dict[bytes, Evidence]:
        """Return what the relay has within two seconds."""
        return read_all((await self.bodies(hashes)).found.items())

    async def bodies(self, hashes: Sequence[bytes]) -> Bodies:
        """Return the documents that the relay has within two seconds."""
        if self._session is None:
            # Nothing is decompressed: what is hashed is what is sent, and a bomb stays what it weighs.
            self._session = aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": "identity"})
        tasks = {asyncio.create_task(self._one(self._session, known)): known for known in hashes}
        if not tasks:
            return Bodies({}, frozenset())
        done, late = await asyncio.wait(tasks, timeout=TIMEOUT_S)
        for task in late:
            task.cancel()
        answers = {tasks[task]: task.result() for task in done}
        found = {known: body for known, body in answers.items() if body}
        return Bodies(found, frozenset(known for known in hashes if answers.get(known) is None))

    async def _one(self, session: aiohttp.ClientSession, evidence_hash: bytes) -> bytes | None:
        """Return what is published under a hash, nothing where that is nothing or something else; None for no answer.

        Something else is not kept: five hundred lies at once, each as long as evidence may be, would fill the memory.
        """
        url = self._url + evidence_hash.hex()
        try:
            async with self._turns, session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    return b"" if answer.status == 404 else None
                body = bytearray()
                while len(body) <= BODY_MAX and (more := await answer.content.read(CHUNK)):
                    body += more
        except (aiohttp.ClientError, OSError):
            return None
        found = bytes(body)
        return found if len(found) <= BODY_MAX and keccak(found) == evidence_hash else b""

    async def close(self) -> None:
        """Drop the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
