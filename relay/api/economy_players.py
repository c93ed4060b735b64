"""Players of an economy over HTTP: declared one by one or many at once, listed.

Touches the database through the store. Opening balances count at a player's creation, as one transaction of its ledger,
and never again.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay.api.catalog_documents import IdempotencyKey
from relay.api.economy_answers import BalanceChange
from relay.api.economy_catalog import refuse_wrong
from relay.api.economy_parts import (
    BODY_ERRORS,
    ERRORS,
    KEY_ERRORS,
    READERS,
    TAG,
    WRITERS,
    EconomyParts,
    Envelope,
    GameQuery,
    credential_of,
    envelope,
    page_of,
)
from relay.api.idempotency import HEADER_TEXT
from relay.api.operations import Answer, Call, Operation, Response
from relay.api.pages import Limit, TextCursor, cursor_of, read_text_cursor, rfc3339, storable
from relay.economy import entries
from relay.economy.catalog import Id, Name
from relay.economy.drafts import By
from relay.economy.entries import AMOUNT_MAX
from relay.economy.ledger import Refusal
from relay.economy.players import BATCH_MAX, Player, wrong_player
from relay.errors import CallerError
from relay.keccak import checksum_address
from relay.store import economy_config, wallets
from relay.store.intake_rows import Connection
from relay.strict_json import Request
from relay.submission import read_address

PATH = "/api/economy/players"
WALLETS_MAX = 100
BOOKED = (
    "CURRENCY_UNKNOWN",
    "MAX_BALANCE_EXCEEDED",
    "SUPPLY_EXCEEDED",
    "WALLET_FROZEN",
)  # refusals of opening balances

# ------------------------------------------------------------------- requests


class WalletRequest(Request, frozen=True):
    """What a new player has of a currency."""

    currency_id: Id
    balance: Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]


class PlayerFields(Request, frozen=True):
    """A player of a batch, as if declared alone."""

    external_id: Id
    display_name: Name | UnsetType | None = UNSET
    address: Annotated[str, Meta(max_length=128)] | UnsetType | None = UNSET
    wallets: Annotated[tuple[WalletRequest, ...], Meta(max_length=WALLETS_MAX)] = ()


class PlayerRequest(PlayerFields, frozen=True):
    """A player. What is left out stays as it was; null takes it away. `wallets` count for a new player only."""

    idempotency_key: IdempotencyKey | None = None


class BatchRequest(Request, frozen=True):
    """Players to declare; each line stands for itself."""

    players: Annotated[tuple[PlayerFields, ...], Meta(min_length=1, max_length=BATCH_MAX)]
    idempotency_key: IdempotencyKey | None = None


class PlayerQuery(GameQuery, frozen=True):
    """A page of players. `search`: part of the id or of the name."""

    search: Annotated[str, Meta(max_length=128)] = ""
    limit: Limit = 50
    cursor: TextCursor | None = None


# -------------------------------------------------------------------- answers


class PlayerDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A player as declared last."""

    external_id: str
    display_name: str | None
    address: str | None
    created_at: str
    updated_at: str


class DeclaredPlayer(PlayerDocument, frozen=True, rename="camel"):
    """A player that was declared. `transactionId` and what follows tell of the opening balances, where they counted."""

    created: bool
    transaction_id: str | None = None
    balances: tuple[BalanceChange, ...] = ()
    source: str | None = None
    config_version: int | None = None


class PlayerLine(msgspec.Struct, frozen=True, rename="camel"):
    """What became of one line: the player, or the code and the reason why nothing of the line took effect."""

    external_id: str
    success: bool
    player: DeclaredPlayer | None
    code: str | None = None
    reason: str | None = None


class BatchDocument(msgspec.Struct, frozen=True, rename="camel"):
    """What became of each line, in order, and how many were created, updated and refused."""

    created: int
    updated: int
    refused: int
    players: list[PlayerLine]


class PlayerPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of players, by id."""

    players: list[PlayerDocument]
    next_cursor: str | None


def _player(row: wallets.PlayerRow) -> PlayerDocument:
    return PlayerDocument(*_fields(row))


def _fields(row: wallets.PlayerRow) -> tuple[str, str | None, str | None, str, str]:
    address = None if row.address is None else checksum_address(row.address)
    return row.external_id, row.display_name, address, rfc3339(row.created_at_ms), rfc3339(row.updated_at_ms)


def _declared(row: wallets.PlayerRow, outcome: wallets.Declared) -> DeclaredPlayer:
    if outcome.opened is None:
        return DeclaredPlayer(*_fields(row), outcome.created)
    booked = outcome.opened.transaction
    of_currency = ((entries.currency_of(asset), amount) for (_, asset), amount in sorted(booked.balances.items()))
    balances = tuple(BalanceChange(row.external_id, name, amount) for name, amount in of_currency if name is not None)
    draft = booked.draft
    return DeclaredPlayer(*_fields(row), outcome.created, booked.id, balances, draft.source, draft.config_version)


def _line(external_id: str, outcome: wallets.Declared | Refusal, rows: Mapping[str, wallets.PlayerRow]) -> PlayerLine:
    if isinstance(outcome, Refusal):
        return PlayerLine(external_id, success=False, player=None, code=outcome.code, reason=outcome.detail)
    return PlayerLine(external_id, success=True, player=_declared(rows[external_id], outcome))


def _read(body: PlayerFields, at: str = "") -> Player:
    """Return the player of a declaration that is at the pointer `at`.

    Raises:
        PayloadError: its address is none (PLAYER_INVALID).
    """
    name = body.display_name if isinstance(body.display_name, str) else None
    address = read_address(body.address, f"{at}/address") if isinstance(body.address, str) else None
    given = {"display_name": body.display_name, "address": body.address}
    return Player(
        body.external_id,
        None if name is None else storable(name),
        address,
        tuple((line.currency_id, line.balance) for line in body.wallets),
        tuple(field for field, value in given.items() if value is not UNSET),
    )


# ----------------------------------------------------------------- operations


class Players:
    """The endpoints."""

    def __init__(self, parts: EconomyParts) -> None:
        self._parts = parts

    async def put(self, call: Call) -> Answer:
        """Declare one player."""
        game_id = await self._parts.game_of(call)
        player = _read(call.body)
        refuse_wrong(wrong_player(player))

        def make(c: Connection, now_ms: int) -> tuple[int, object]:
            (line,) = _put(c, game_id, [player], call, now_ms)
            if line.player is None:
                raise CallerError(str(line.code), str(line.reason))
            return 201 if line.player.created else 200, line.player

        return await self._parts.once(call, f"POST {PATH}", game_id, make)

    async def put_many(self, call: Call) -> Answer:
        """Declare players, each for itself."""
        game_id = await self._parts.game_of(call)
        players = [_read(one, f"/players/{at}") for at, one in enumerate(call.body.players)]
        refuse_wrong([error for at, one in enumerate(players) for error in wrong_player(one, f"/players/{at}")])

        def make(c: Connection, now_ms: int) -> tuple[int, object]:
            lines = _put(c, game_id, players, call, now_ms)
            accepted = [line.player for line in lines if line.player is not None]
            created = sum(player.created for player in accepted)
            return 200, BatchDocument(created, len(accepted) - created, len(lines) - len(accepted), lines)

        return await self._parts.once(call, f"POST {PATH}/batch", game_id, make)

    async def page(self, call: Call) -> Answer:
        """Return a page of players."""
        game_id, query = await self._parts.game_of(call), call.query
        after, search = read_text_cursor(query.cursor), storable(query.search)
        rows = await self._parts.read(lambda c: wallets.list_players(c, game_id, search, after, query.limit + 1))
        shown, following = page_of(rows, query.limit, lambda row: cursor_of(row.external_id))
        return envelope(call, PlayerPage([_player(row) for row in shown], following))


def _put(c: Connection, game_id: str, players: Sequence[Player], call: Call, now_ms: int) -> list[PlayerLine]:
    version = economy_config.in_force(c, [game_id])[game_id].version
    caller = credential_of(call)
    outcomes = wallets.put_players(c, game_id, players, By(caller.role, caller.key_id, version), now_ms)
    rows = wallets.find_players(c, game_id, [player.external_id for player in players])
    return [_line(one.external_id, outcome, rows) for one, outcome in zip(players, outcomes, strict=True)]


def player_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declarations."""
    here = Players(parts)
    refusals = (*ERRORS, *BODY_ERRORS, *KEY_ERRORS, "PLAYER_INVALID")
    key = {"Idempotency-Key": HEADER_TEXT}
    new, known = Response(Envelope[DeclaredPlayer], "New."), Response(Envelope[DeclaredPlayer], "It was there.")
    text = "What is left out stays as it was; opening balances are booked when the player is created, and never again."
    return [
        Operation(
            "POST", PATH, "Declare a player, or change one", here.put, {201: new, 200: known}, (*refusals, *BOOKED),
            WRITERS, request=PlayerRequest, query=GameQuery, request_headers=key, tag=TAG, description=text,
        ),
        Operation(
            "POST", f"{PATH}/batch", "Declare up to 100 players", here.put_many, {200: Envelope[BatchDocument]},
            refusals, WRITERS, request=BatchRequest, query=GameQuery, request_headers=key, tag=TAG,
            description=f"Each line stands for itself, and the answer tells what became of it. {text}",
        ),
        Operation(
            "GET", PATH, "Players, by id", here.page, {200: Envelope[PlayerPage]}, (*ERRORS, "QUERY_INVALID"), READERS,
            query=PlayerQuery, tag=TAG,
        ),
    ]  # fmt: skip
