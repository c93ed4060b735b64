"""A game's economy settings over HTTP: read, replaced, patched, with every version kept.

Touches the database through `relay.store.economy_config`. An answer's settings can be sent back as they are: their
`configVersion` then says which version they are meant to follow.
"""

import typing
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay.api.catalog_documents import IdempotencyKey
from relay.api.economy_parts import (
    BODY_ERRORS,
    CHANGERS,
    ERRORS,
    KEY_ERRORS,
    READERS,
    TAG,
    EconomyParts,
    Envelope,
    GameQuery,
    credential_of,
    envelope,
    page_of,
)
from relay.api.idempotency import HEADER_TEXT
from relay.api.operations import Answer, Call, Operation
from relay.api.pages import Cursor, Limit, cursor_of, read_number_cursor, rfc3339, storable
from relay.economy import config
from relay.economy.config import Document
from relay.errors import CallerError
from relay.store import economy_config as store
from relay.store.controls import By
from relay.store.intake_rows import Connection
from relay.strict_json import Request

PATH = "/api/economy/config"
VERSION_MAX = 2**31 - 1
BESIDE = ("configVersion", "reason", "idempotencyKey")  # members of a request that are no settings

Whole = int | UnsetType | None
Reason = Annotated[str, Meta(max_length=500, description="why; kept in the record of changes")]
Version = Annotated[int, Meta(ge=0, le=VERSION_MAX, description="change only what is this version")]

if typing.TYPE_CHECKING:  # what is made at run time is no type to a checker
    ByAction = Any
else:
    ByAction = msgspec.defstruct(
        "ByAction", [(action, Whole, UNSET) for action in (config.DEFAULT, *config.ACTIONS)], module=__name__,
        namespace={"__doc__": "A number by action; `default` holds where an action is not named."},
        frozen=True, forbid_unknown_fields=True, omit_defaults=True,
    )  # fmt: skip


class ConfigRequest(Request, frozen=True):
    """Settings. For PUT what is left out or null has its default; for PATCH what is left out stays, null resets."""

    enabled: bool | UnsetType | None = UNSET
    rate_limits: ByAction | UnsetType | None = UNSET
    max_transaction_amount: Whole = UNSET
    laundering_threshold: Whole = UNSET
    velocity_multiplier: Whole = UNSET
    amount_per_window: ByAction | UnsetType | None = UNSET
    marketplace_tax_bps: Whole = UNSET
    config_version: Version | None = None
    reason: Reason = ""
    idempotency_key: IdempotencyKey | None = None


class ConfigDocument(msgspec.Struct, frozen=True, rename="camel"):
    """The settings of a version; version 0 are the defaults. `amountPerWindow` is empty where there is no limit."""

    config_version: int
    enabled: bool
    rate_limits: dict[str, int]
    max_transaction_amount: int
    laundering_threshold: int
    velocity_multiplier: int
    amount_per_window: dict[str, int]
    marketplace_tax_bps: int


class ConfigChange(msgspec.Struct, frozen=True, rename="camel"):
    """One version: who made it, when and why."""

    config_version: int
    at: str
    actor: str
    reason: str
    config: ConfigDocument


class ConfigHistory(msgspec.Struct, frozen=True, rename="camel"):
    """A page of versions, newest first. The defaults, version 0, were never set and are not in it."""

    changes: list[ConfigChange]
    next_cursor: str | None


class HistoryQuery(GameQuery, frozen=True):
    """A page of versions."""

    limit: Limit = 50
    cursor: Cursor | None = None


class Configuration:
    """The endpoints."""

    def __init__(self, parts: EconomyParts) -> None:
        self._parts = parts

    async def current(self, call: Call) -> Answer:
        """Return the settings in force."""
        game_id = await self._parts.game_of(call)
        return envelope(call, _document(await self._parts.read(lambda c: store.current(c, game_id))))

    async def put(self, call: Call) -> Answer:
        """Replace the settings."""
        return await self._change(call, lambda _, asked: config.replaced(asked))

    async def patch(self, call: Call) -> Answer:
        """Merge a patch into the settings."""
        return await self._change(call, config.patched)

    async def history(self, call: Call) -> Answer:
        """Return a page of versions."""
        game_id, query = await self._parts.game_of(call), call.query
        before = read_number_cursor(query.cursor)
        rows = await self._parts.read(lambda c: store.history(c, game_id, query.limit + 1, before))
        shown, following = page_of(rows, query.limit, lambda row: cursor_of(str(row.version)))
        changes = [ConfigChange(r.version, rfc3339(r.at_ms), r.actor, r.reason, _document(r)) for r in shown]
        return envelope(call, ConfigHistory(changes, following))

    async def _change(self, call: Call, to: Callable[[Document, Document], Document]) -> Answer:
        game_id, body = await self._parts.game_of(call), call.body
        asked = {name: value for name, value in msgspec.to_builtins(body).items() if name not in BESIDE}
        actor, reason = credential_of(call).key_id, storable(body.reason)

        def make(c: Connection, now_ms: int) -> tuple[int, object]:
            row, changed = store.change(c, game_id, lambda now: to(now, asked), By(actor, reason, now_ms))
            before = row.version - 1 if changed else row.version
            if body.config_version not in (None, before):
                raise CallerError("CONFIG_CHANGED", f"The version in force is {before}, not {body.config_version}.")
            return 200, _document(row)

        return await self._parts.once(call, f"{call.scope['method']} {PATH}", game_id, make)


def _document(row: store.ConfigRow) -> ConfigDocument:
    found = row.config
    return ConfigDocument(
        found.version, found.enabled, dict(found.rate_limits), found.max_transaction_amount,
        found.laundering_threshold, found.velocity_multiplier, dict(found.amount_per_window),
        found.marketplace_tax_bps,
    )  # fmt: skip


def config_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declarations."""
    here = Configuration(parts)
    one = {200: Envelope[ConfigDocument]}
    text = (
        "Limits and heuristics; what a ledger cannot be wrong about has no switch. Every version is kept, and every "
        "decision names its own. With `configVersion` only that version is changed, else whichever is in force."
    )

    def change(method: str, summary: str, endpoint: Any) -> Operation:
        return Operation(
            method, PATH, summary, endpoint, one, (*ERRORS, *BODY_ERRORS, *KEY_ERRORS, "CONFIG_CHANGED"), CHANGERS,
            request=ConfigRequest, query=GameQuery, request_headers={"Idempotency-Key": HEADER_TEXT}, tag=TAG,
            description=text,
        )  # fmt: skip

    return [
        Operation("GET", PATH, "The settings in force", here.current, one, ERRORS, READERS, query=GameQuery, tag=TAG),
        change("PUT", "Replace the settings", here.put),
        change("PATCH", "Change settings, by a JSON merge patch (RFC 7396)", here.patch),
        Operation(
            "GET", f"{PATH}/history", "Versions of the settings, newest first", here.history,
            {200: Envelope[ConfigHistory]}, (*ERRORS, "QUERY_INVALID"), READERS, query=HistoryQuery, tag=TAG,
        ),
    ]  # fmt: skip
