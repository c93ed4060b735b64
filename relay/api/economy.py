"""The economy's operations over HTTP: grants, spending, transfers, purchases, crafting, loot, the market, reversals.

Touches the economy's intake. The rest of the economy's routes is declared beside this.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from relay.api.economy_answers import OperationDocument, headers_of, render
from relay.api.economy_catalog import catalog_operations
from relay.api.economy_checkpoints import checkpoint_operations
from relay.api.economy_config import config_operations
from relay.api.economy_games import economy_game_operations
from relay.api.economy_parts import (
    BODY_ERRORS,
    ERRORS,
    KEY_ERRORS,
    TAG,
    WRITERS,
    EconomyParts,
    Envelope,
    GameQuery,
    claim_of,
    credential_of,
)
from relay.api.economy_players import player_operations
from relay.api.economy_proofs import proof_operations
from relay.api.economy_reads import read_operations
from relay.api.economy_repairs import repair_operations
from relay.api.idempotency import HEADER_TEXT, answer_of
from relay.api.operations import Answer, Call, Operation, Response
from relay.api.pages import storable
from relay.api.round_documents import MOMENT_MAX_MS, epoch_ms
from relay.economy import requests
from relay.economy.requests import Asked, ListRequest
from relay.economy_entries import Order
from relay.economy_intake import EconomyIntake
from relay.errors import CallerError, FieldError, PayloadError
from relay.games import Games
from relay.store.checkpoints import Where
from relay.store.engine import Database
from relay.store.writer import Writer

PREFIX = "/api/economy"
PLAYER_CODES = ("PLAYER_UNKNOWN", "WALLET_FROZEN", "REFERENCE_EXISTS", "RATE_LIMITED")
MONEY_CODES = ("CURRENCY_UNKNOWN", "AMOUNT_INVALID", "MAX_AMOUNT_EXCEEDED", "AMOUNT_WINDOW_EXCEEDED")
GAIN_CODES = ("MAX_BALANCE_EXCEEDED", "SUPPLY_EXCEEDED")
LISTING_CODES = ("LISTING_UNKNOWN", "LISTING_CLOSED")


class _Route(NamedTuple):
    """What is documented of an operation."""

    summary: str
    codes: tuple[str, ...]


ROUTES: Mapping[str, _Route] = {
    "/grant": _Route("Give a player an amount of a currency", (*PLAYER_CODES, *MONEY_CODES, *GAIN_CODES)),
    "/spend": _Route("Take an amount of a currency from a player",
                     (*PLAYER_CODES, *MONEY_CODES, "INSUFFICIENT_BALANCE")),
    "/transfer": _Route(
        "Move an amount of a currency from one player to another",
        (*PLAYER_CODES, *MONEY_CODES, "INSUFFICIENT_BALANCE", "MAX_BALANCE_EXCEEDED", "TRANSFER_TO_SELF"),
    ),
    "/purchase": _Route(
        "Sell an item of the game to a player",
        (*PLAYER_CODES, *MONEY_CODES, *GAIN_CODES, "ITEM_UNKNOWN", "ITEM_NOT_FOR_SALE", "INSUFFICIENT_BALANCE"),
    ),
    "/craft": _Route(
        "Craft by a recipe",
        (*PLAYER_CODES, *MONEY_CODES, *GAIN_CODES, "RECIPE_UNKNOWN", "CRAFT_COOLDOWN", "CLIENT_SEED_INVALID",
         "INSUFFICIENT_BALANCE", "INSUFFICIENT_ITEMS"),
    ),
    "/loot/roll": _Route(
        "Roll a loot table",
        (*PLAYER_CODES, *GAIN_CODES, "LOOT_TABLE_UNKNOWN", "LOOT_TABLE_UNUSABLE", "CLIENT_SEED_INVALID",
         "CURRENCY_UNKNOWN"),
    ),
    "/marketplace/list": _Route(
        "Put items up for sale",
        (*PLAYER_CODES, "CURRENCY_UNKNOWN", "AMOUNT_INVALID", "ITEM_UNKNOWN", "ITEM_SOULBOUND", "LISTING_EXPIRED",
         "INSUFFICIENT_ITEMS"),
    ),
    "/marketplace/buy": _Route(
        "Buy what a listing offers",
        (*PLAYER_CODES, *MONEY_CODES, *LISTING_CODES, "LISTING_EXPIRED", "SELF_PURCHASE", "ITEM_SOULBOUND",
         "INSUFFICIENT_BALANCE", "MAX_BALANCE_EXCEEDED"),
    ),
    "/marketplace/cancel": _Route("Take a listing back", (*PLAYER_CODES, *LISTING_CODES, "NOT_THE_SELLER")),
    "/transactions/{transactionId}/reverse": _Route(
        "Undo a transaction by an equal and opposite one; twice is the same answer",
        ("TRANSACTION_UNKNOWN", "NOT_REVERSIBLE", "WALLET_FROZEN", "REFERENCE_EXISTS", "INSUFFICIENT_BALANCE",
         "INSUFFICIENT_ITEMS"),
    ),
}  # fmt: skip


def economy_parts(
    database: Database, writer: Writer, games: Games, where: Where, *, open_registration: bool = False
) -> EconomyParts:
    """Return what the economy's operations work with; `writer` is its own, so that scores and it wait for nobody."""
    return EconomyParts(database, writer, games, EconomyIntake(writer, database, render), where, open_registration)


class Execute:
    """The endpoint of one route."""

    def __init__(self, parts: EconomyParts, path: str) -> None:
        self._parts, self._route = parts, f"POST {PREFIX}{path}"

    async def __call__(self, call: Call) -> Answer:
        """Answer one operation: what is asked, by whom, in which game; then let it be decided.

        Raises:
            FairscoreError: it cannot be decided; nothing of it is recorded.
        """
        game_id = await self._parts.game_of(call)
        order = Order(game_id, _asked(call), call.request_id, claim_of(call, self._route, game_id))
        reply = await self._parts.intake.submit(order)
        answered = answer_of(reply.kept)
        return answered._replace(headers=answered.headers + headers_of(order, reply.decided))


def _asked(call: Call) -> Asked:
    body: requests.Operation = call.body
    fields = requests.wrong(body)
    if fields:
        raise PayloadError("The body is not of the expected shape: " + fields[0].detail, fields)
    refusal = requests.unusable(body)
    if refusal is not None:
        raise CallerError(refusal.code, refusal.detail)
    expires_at_ms = _moment(body.expires_at) if isinstance(body, ListRequest) and body.expires_at is not None else None
    credential = credential_of(call)
    transaction_id = storable(call.path.get("transactionId", ""))
    return Asked(body, credential.role, credential.key_id, transaction_id, expires_at_ms)


def _moment(text: str) -> int:
    try:
        at_ms = epoch_ms(datetime.fromisoformat(text))
    except (ValueError, TypeError, OverflowError):
        at_ms = -1
    if not 0 <= at_ms < MOMENT_MAX_MS:
        detail = "`expiresAt` is a moment between 1970 and 9999 (RFC 3339)"
        raise PayloadError(detail, [FieldError("/expiresAt", "FIELD_INVALID", detail)])
    return at_ms


def economy_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declarations of the economy."""
    return [
        *(_operation(parts, path, route) for path, route in ROUTES.items()),
        *catalog_operations(parts),
        *player_operations(parts),
        *config_operations(parts),
        *economy_game_operations(parts),
        *read_operations(parts),
        *proof_operations(parts),
        *checkpoint_operations(parts),
        *repair_operations(parts),
    ]


def _operation(parts: EconomyParts, path: str, route: _Route) -> Operation:
    return Operation(
        "POST",
        PREFIX + path,
        route.summary,
        Execute(parts, path),
        {200: Response(Envelope[OperationDocument], "Booked, durably.")},
        (*ERRORS, *BODY_ERRORS, *KEY_ERRORS, *dict.fromkeys(route.codes)),
        WRITERS,
        requests.ROUTES[path],
        query=GameQuery,
        parameters={"transactionId": "The transaction to undo."} if "{" in path else {},
        request_headers={"Idempotency-Key": HEADER_TEXT},
        tag=TAG,
    )
