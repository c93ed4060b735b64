"""The outbox over HTTP: what it is doing, and what an operator may tell it.

Touches the database through `relay.store.outbox_view` and `relay.store.controls`, and asks the chain for balances.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from relay.api.operations import Answer, Call, Operation, Response, answer
from relay.api.outbox_documents import (
    Controlled,
    KeyDocument,
    OutboxDocument,
    Reason,
    RetryAccepted,
    VoidAccepted,
    VoidRequest,
    key_document,
    outbox_document,
    pause_document,
)
from relay.api.outbox_parts import OutboxParts
from relay.api.pages import rfc3339, storable
from relay.chain_types import ChainError
from relay.errors import CallerError, WorldError
from relay.keccak import checksum_address
from relay.store import controls, outbox_view
from relay.store.engine import StoreUnavailableError
from relay.store.outbox_leases import Key

T = TypeVar("T")

TAG = "Operations"
BALANCE_S_MAX = 3.0
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
WATCHERS = frozenset({"auditor", "admin"})
ADMIN = frozenset({"admin"})
REFUSED = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FORBIDDEN_GAME", "STORE_UNAVAILABLE")
UNREADABLE = ("PAYLOAD_MALFORMED", "BODY_TOO_LARGE", "MEDIA_TYPE_UNSUPPORTED")
NO_STORE: tuple[tuple[bytes, bytes], ...] = ((b"cache-control", b"no-store"),)


class OutboxEndpoints:
    """The endpoints. All of them take a key that is good for every game: senders serve all games."""

    def __init__(self, parts: OutboxParts) -> None:
        self._parts = parts

    async def show(self, call: Call) -> Answer:
        """Return everything that is under way."""
        _whole_system(call)
        parts = self._parts

        seen = await self._read(
            lambda c: outbox_view.everything(c, parts.chain_id, parts.database.now_ms(c)),
        )
        balances = await self._balances([one.key.signer for one in seen.view.keys])
        keys = [self._key(one, seen.view.now_ms, balances[one.key.signer]) for one in seen.view.keys]
        return answer(outbox_document(parts.chain_id, seen, keys, parts.providers()), 200, NO_STORE)

    async def pause(self, call: Call) -> Answer:
        """Let a key sign and broadcast nothing; it still watches and settles what is under way."""
        key, body = self._key_of(call), call.body
        found = await self._change(call, body.reason, lambda c, by: controls.pause(c, key, by))
        return answer(Controlled(checksum_address(key.signer), pause_document(found)))

    async def resume(self, call: Call) -> Answer:
        """Let a paused key send again."""
        key, body = self._key_of(call), call.body
        await self._change(call, body.reason, lambda c, by: controls.resume(c, key, by))
        self._wake()
        return answer(Controlled(checksum_address(key.signer), None))

    async def void(self, call: Call) -> Answer:
        """Ask for a nonce to be used up by a transaction of the key to itself."""
        key = self._key_of(call)
        body: VoidRequest = call.body
        since = await self._change(call, body.reason, lambda c, by: controls.request_void(c, key, body.nonce, by))
        self._wake()
        return answer(VoidAccepted(checksum_address(key.signer), body.nonce, rfc3339(since)), 202)

    async def retry(self, call: Call) -> Answer:
        """Let a parked score wait for a transaction again."""
        _whole_system(call)
        submission_id = storable(call.path["submissionId"])
        body: Reason = call.body
        await self._change(call, body.reason, lambda c, by: controls.retry(c, submission_id, by))
        self._wake()
        return answer(RetryAccepted(submission_id, "accepted"), 202)

    def _key(self, view: outbox_view.KeyView, now_ms: int, balance_wei: int | None) -> KeyDocument:
        sender = self._parts.senders().get(view.key.signer)
        if sender is None:
            return key_document(view, now_ms, balance_wei=balance_wei)
        trouble = sender.trouble if sender.leads else None
        return key_document(view, now_ms, carries=sender.carries, here=True, balance_wei=balance_wei, trouble=trouble)

    async def _balances(self, addresses: Sequence[bytes]) -> dict[bytes, int | None]:
        async def one(address: bytes) -> int | None:
            try:
                async with asyncio.timeout(BALANCE_S_MAX):
                    return await self._parts.chain.balance(address)
            except (ChainError, TimeoutError):
                return None  # the rest is worth knowing all the more when the chain is away

        return dict(zip(addresses, await asyncio.gather(*map(one, addresses)), strict=True))

    def _key_of(self, call: Call) -> Key:
        _whole_system(call)
        return Key(self._parts.chain_id, read_account(call.path["address"]))

    async def _change(self, call: Call, reason: str, job: Callable[[Any, controls.By], T]) -> T:
        database = self._parts.database
        actor = call.credential.key_id if call.credential is not None else ""
        try:
            return await self._parts.writer.run(
                lambda c: job(c, controls.By(actor, storable(reason), database.now_ms(c)))
            )
        except StoreUnavailableError:
            detail = "The database did not take the change; nothing happened. Try again."
            raise WorldError("STORE_UNAVAILABLE", detail) from None

    async def _read(self, job: Callable[[Any], T]) -> T:
        try:
            return await self._parts.database.read(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The database cannot be read now; try again.") from None

    def _wake(self) -> None:
        for sender in self._parts.senders().values():
            sender.wake()


def read_account(text: str) -> bytes:
    """Return the 20 bytes of an address in a path; mixed case must be a correct EIP-55 checksum.

    Raises:
        CallerError: PATH_INVALID.
    """
    if ADDRESS.fullmatch(text) is None:
        raise CallerError("PATH_INVALID", "A key is named by its address: 0x and 40 hexadecimal digits.")
    raw = bytes.fromhex(text[2:])
    if text[2:] not in (text[2:].lower(), text[2:].upper()) and checksum_address(raw) != text:
        raise CallerError("PATH_INVALID", "The checksum of the address is wrong (EIP-55).")
    return raw


def _whole_system(call: Call) -> None:
    if call.credential is not None and call.credential.game_id is not None:
        raise CallerError("FORBIDDEN_GAME", "Senders serve every game; this key is good for one game only.")


def outbox_operations(parts: OutboxParts) -> list[Operation]:
    """Return the declarations."""
    endpoints = OutboxEndpoints(parts)
    by_key = {"address": "Of the sending key, as `GET /api/outbox` lists it."}
    on_key = (*REFUSED, *UNREADABLE, "PATH_INVALID", "SENDER_UNKNOWN")
    return [
        Operation(
            "GET", "/api/outbox", "Everything on its way to the chain", endpoints.show, {200: OutboxDocument},
            REFUSED, WATCHERS, tag=TAG,
            description="Depth and oldest age by state, keys with their nonces and transactions, RPC endpoints, parked "
            "scores, revocations under way, and what operators did.",
        ),
        Operation(
            "POST", "/api/outbox/keys/{address}/pause", "Let a key send nothing", endpoints.pause, {200: Controlled},
            on_key, ADMIN, Reason, parameters=by_key, tag=TAG,
            description="It signs and broadcasts nothing from its next round on, in whichever process it runs; what is "
            "under way is still watched and settled. A key that is paused already keeps its pause.",
        ),
        Operation(
            "POST", "/api/outbox/keys/{address}/resume", "Let a paused key send again", endpoints.resume,
            {200: Controlled}, on_key, ADMIN, Reason, parameters=by_key, tag=TAG,
        ),
        Operation(
            "POST", "/api/outbox/keys/{address}/void", "Use a stuck nonce up", endpoints.void,
            {202: Response(VoidAccepted, "Stored; asking again changes nothing.")},
            (*on_key, "NONCE_UNKNOWN", "NONCE_NOT_VOIDABLE"), ADMIN, VoidRequest, parameters=by_key, tag=TAG,
            description="The key's next transaction with this nonce goes to itself and carries nothing. Whichever of "
            "the nonce's transactions is mined decides; once the void is final, its scores wait for another.",
        ),
        Operation(
            "POST", "/api/outbox/submissions/{submissionId}/retry", "Try a parked score again", endpoints.retry,
            {202: Response(RetryAccepted, "It waits for a transaction again.")},
            (*REFUSED, *UNREADABLE, "SUBMISSION_UNKNOWN", "SUBMISSION_NOT_PARKED"), ADMIN, Reason,
            parameters={"submissionId": "Of a submission whose status is `parked`."}, tag=TAG,
        ),
    ]  # fmt: skip
