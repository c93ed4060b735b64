"""`GET /api/economy/stats`: an economy in numbers, now and over time.

Touches the database through the store, for reading only. What waits for the same numbers shares one look at them.
"""

from typing import Any, Literal

import msgspec

from relay.api.economy_parts import ERRORS, READERS, TAG, EconomyParts, Envelope, GameQuery, envelope
from relay.api.operations import Answer, Call, Operation
from relay.api.pages import rfc3339
from relay.api.shared_reads import SharedReads
from relay.economy.entries import Asset, currency
from relay.economy.series import WINDOWS, Level, Steps, counts, levels
from relay.store.economy_stats import ItemSupply, Stats, stats
from relay.store.engine import one_picture
from relay.store.intake_rows import Connection
from relay.store.ledger_view import Supply

NEVER = Supply(0, 0, 0, 0, 0)  # of a currency that nothing was ever booked in


class StatsQuery(GameQuery, frozen=True):
    """How far back the series go: to 60 steps of a minute, 72 of 5, 96 of 15, 84 of 2 hours, 120 of 6 hours."""

    window: Literal["1h", "6h", "24h", "7d", "30d"] = "1h"


class DeclaredDocument(msgspec.Struct, frozen=True, rename="camel"):
    """How many there are of each kind of declaration."""

    currencies: int
    items: int
    recipes: int
    loot_tables: int


class OpenFlagsDocument(msgspec.Struct, frozen=True):
    """Flags that no auditor decided about yet."""

    warning: int
    critical: int


class NewestCheckpoint(msgspec.Struct, frozen=True, rename="camel"):
    """The newest checkpoint, in any state."""

    id: str
    state: str
    size: int
    created_at: str
    block_number: int | None
    tx_hash: str | None


class LedgerDocument(msgspec.Struct, frozen=True, rename="camel"):
    """The ledger's end: how many transactions, the last one's hash, and how many of them final checkpoints cover."""

    size: int
    head: str
    anchored: int
    checkpoint: NewestCheckpoint | None


class CurrencySupply(msgspec.Struct, frozen=True, rename="camel"):
    """Where all of a currency is: minted = burned + taxed + escrowed + circulating."""

    currency_id: str
    name: str
    icon: str
    decimals: int
    max_balance: int | None
    minted: int
    burned: int
    taxed: int
    escrowed: int
    circulating: int


class ItemSupplyDocument(msgspec.Struct, frozen=True, rename="camel"):
    """Where all of an item is."""

    item_id: str
    name: str
    minted: int
    burned: int
    escrowed: int
    circulating: int


class SupplySeries(msgspec.Struct, frozen=True, rename="camel"):
    """A currency's levels at the end of each step."""

    currency_id: str
    minted: list[int]
    burned: list[int]
    taxed: list[int]
    escrowed: list[int]
    circulating: list[int]


class OperationSeries(msgspec.Struct, frozen=True):
    """How often an action took effect in each step, and altogether."""

    action: str
    total: int
    counts: list[int]


class RefusalSeries(msgspec.Struct, frozen=True):
    """How often operations were refused with a code in each step, and altogether."""

    code: str
    total: int
    counts: list[int]


class SeriesDocument(msgspec.Struct, frozen=True, rename="camel"):
    """Equal steps; `times[i]` is where step i ends, and the last ends now. Most frequent actions and codes first."""

    window: str
    step_seconds: int
    from_: str = msgspec.field(name="from")
    to: str
    times: list[str]
    supply: list[SupplySeries]
    operations: list[OperationSeries]
    refusals: list[RefusalSeries]


class StatsDocument(msgspec.Struct, frozen=True, rename="camel"):
    """An economy in numbers at one moment, `at`. `items`: the 50 of which most circulates."""

    game_id: str
    at: str
    config_version: int
    guard_enabled: bool
    players: int
    transactions: int
    declared: DeclaredDocument
    open_listings: int
    open_flags: OpenFlagsDocument
    ledger: LedgerDocument
    supply: list[CurrencySupply]
    items: list[ItemSupplyDocument]
    series: SeriesDocument


class StatsEndpoint:
    """The endpoint."""

    def __init__(self, parts: EconomyParts) -> None:
        self._parts = parts
        self._looks: SharedReads[StatsDocument] = SharedReads()

    async def __call__(self, call: Call) -> Answer:
        """Return a game's numbers."""
        game_id, name = await self._parts.game_of(call), call.query.window

        def read(c: Connection) -> StatsDocument:
            one_picture(c)
            found = stats(c, game_id, WINDOWS[name], self._parts.database.now_ms(c))
            return stats_document(game_id, name, found)

        return envelope(call, await self._looks.ask((game_id, name), lambda: self._parts.read(read)))


def stats_document(game_id: str, window: str, found: Stats) -> StatsDocument:
    """Return the numbers as shown."""
    size, head = found.head
    return StatsDocument(
        game_id=game_id,
        at=rfc3339(found.steps.now_ms),
        config_version=found.config.version,
        guard_enabled=found.config.config.enabled,
        players=found.players,
        transactions=size,
        declared=DeclaredDocument(
            len(found.currencies), *(found.declared.get(kind, 0) for kind in ("item", "recipe", "loot_table"))
        ),
        open_listings=found.listings,
        open_flags=OpenFlagsDocument(found.flags.get("warning", 0), found.flags.get("critical", 0)),
        ledger=LedgerDocument(size, "0x" + head.hex(), found.anchored, _checkpoint(found.checkpoint)),
        supply=[
            CurrencySupply(*one[:3], one.decimals, one.max_balance, *found.supply.get(currency(one.currency_id), NEVER))
            for one in found.currencies
        ],
        items=[_item(one) for one in found.items],
        series=_series(window, found),
    )


def _checkpoint(row: Any) -> NewestCheckpoint | None:
    if row is None:
        return None
    tx_hash = None if row.tx_hash is None else "0x" + bytes(row.tx_hash).hex()
    size, created = row.first_sequence + row.entries, rfc3339(row.created_at_ms)
    return NewestCheckpoint(row.id, row.state, size, created, row.block_number, tx_hash)


def _item(one: ItemSupply) -> ItemSupplyDocument:
    supply = one.supply
    where = (supply.minted, supply.burned, supply.escrowed, supply.circulating)
    return ItemSupplyDocument(one.item_id, one.name, *where)


def _series(window: str, found: Stats) -> SeriesDocument:
    steps = found.steps
    return SeriesDocument(
        window=window,
        step_seconds=steps.window.step_s,
        from_=rfc3339(steps.first_ms),
        to=rfc3339(steps.now_ms),
        times=[rfc3339(end_ms) for end_ms in steps.ends_ms],
        supply=[_levels(steps, one.currency_id, found) for one in found.currencies],
        operations=[OperationSeries(action, sum(of), list(of)) for action, of in counts(steps, found.operations)],
        refusals=[RefusalSeries(code, sum(of), list(of)) for code, of in counts(steps, found.refusals)],
    )


def _levels(steps: Steps, currency_id: str, found: Stats) -> SupplySeries:
    asset: Asset = currency(currency_id)
    now = Level(*found.supply.get(asset, NEVER)[:4])
    at = levels(steps, now, found.changes.get(currency_id, {}))
    return SupplySeries(
        currency_id,
        [one.minted for one in at],
        [one.burned for one in at],
        [one.taxed for one in at],
        [one.escrowed for one in at],
        [one.circulating for one in at],
    )


def stats_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declaration."""
    return [
        Operation(
            "GET", "/api/economy/stats", "An economy in numbers, now and over time", StatsEndpoint(parts),
            {200: Envelope[StatsDocument]}, (*ERRORS, "QUERY_INVALID"), READERS, query=StatsQuery, tag=TAG,
            description="Levels and counts of equal steps up to now: what charts are drawn from.",
        )
    ]  # fmt: skip
