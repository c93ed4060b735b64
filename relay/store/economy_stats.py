"""A game's economy in numbers: how much there is of what and where, and how that came about over time.

The only SQL on the tallies beside `relay.store.tallies`, which writes them. Everything is read at one moment, so that
what was counted over time leads exactly to what there is.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, text

from relay.economy import entries
from relay.economy.catalog import Item
from relay.economy.entries import Asset
from relay.economy.players import Currency
from relay.economy.series import Level, Steps, Window
from relay.store import catalog, economy_config, ledger_view, market, wallets
from relay.store.catalog_tables import economy_catalog, market_listings
from relay.store.checkpoint_tables import checkpoints
from relay.store.checkpoints import anchored_size
from relay.store.economy_config import ConfigRow
from relay.store.economy_tables import economy_players
from relay.store.ledger_view import Supply
from relay.store.tables import audit_flags
from relay.store.tallies import OK
from relay.store.tally_tables import economy_operation_tallies, economy_supply_tallies

ITEMS = 50  # that are shown


class ItemSupply(NamedTuple):
    """Of one item: how it is called now, and where all of it is."""

    item_id: str
    name: str
    supply: Supply


class Stats(NamedTuple):
    """What is asked for, at one moment.

    Attributes:
        declared: how many there are of each kind of declaration (`item`, `recipe`, `loot_table`).
        flags: open ones by severity.
        head: how many transactions there are, and the hash of the last.
        checkpoint: the newest, as a row; None where there is none.
        items: of which most circulates, first.
        changes: of each currency, by step.
        operations: (action, step, how many) of what took effect.
        refusals: (code, step, how many).
    """

    steps: Steps
    config: ConfigRow
    players: int
    declared: Mapping[str, int]
    listings: int
    flags: Mapping[str, int]
    head: tuple[int, bytes]
    anchored: int
    checkpoint: Any
    currencies: list[Currency]
    supply: Mapping[Asset, Supply]
    items: list[ItemSupply]
    changes: Mapping[str, Mapping[int, Level]]
    operations: list[tuple[str, int, int]]
    refusals: list[tuple[str, int, int]]


def stats(c: Connection, game_id: str, window: Window, now_ms: int) -> Stats:
    """Return a game's numbers at `now_ms`; to be asked in one picture."""
    steps = Steps(window, now_ms)
    p, m, k = economy_players.c, market_listings.c, checkpoints.c
    of_game = select(checkpoints).where(k.game_id == game_id)
    supply = ledger_view.supply(c, game_id)
    operations, refusals = _operations(c, game_id, steps)
    return Stats(
        steps=steps,
        config=economy_config.current(c, game_id),
        players=int(c.scalar(select(func.count()).where(p.game_id == game_id)) or 0),
        declared=_declared(c, game_id),
        listings=int(c.scalar(select(func.count()).where(m.game_id == game_id, market.IS_OPEN)) or 0),
        flags=_open_flags(c, game_id),
        head=ledger_view.head(c, game_id),
        anchored=anchored_size(c, game_id),
        checkpoint=c.execute(of_game.order_by(k.id.desc()).limit(1)).first(),
        currencies=wallets.list_currencies(c, game_id),
        supply=supply,
        items=_items(c, game_id, supply),
        changes=_changes(c, game_id, steps),
        operations=operations,
        refusals=refusals,
    )


def _items(c: Connection, game_id: str, supply: Mapping[Asset, Supply]) -> list[ItemSupply]:
    found = [(item_id, of) for asset, of in supply.items() if (item_id := entries.item_of(asset)) is not None]
    most = sorted(found, key=lambda one: (-one[1].circulating, one[0]))[:ITEMS]
    named = catalog.find(c, game_id, Item, [item_id for item_id, _ in most])
    return [ItemSupply(item_id, named[item_id].name if item_id in named else item_id, of) for item_id, of in most]


def _declared(c: Connection, game_id: str) -> dict[str, int]:
    e = economy_catalog.c
    query = select(e.kind, func.count(e.entry_id.distinct())).where(e.game_id == game_id).group_by(e.kind)
    return {row[0]: int(row[1]) for row in c.execute(query)}


def _open_flags(c: Connection, game_id: str) -> dict[str, int]:
    f = audit_flags.c
    # A literal, because both databases use the partial index of open flags only for its own words.
    query = select(f.severity, func.count()).where(f.game_id == game_id, text("status = 'open'")).group_by(f.severity)
    return {row[0]: int(row[1]) for row in c.execute(query)}


def _changes(c: Connection, game_id: str, steps: Steps) -> dict[str, dict[int, Level]]:
    t = economy_supply_tallies.c
    which = (t.game_id == game_id, t.grain_s == steps.window.grain_s, t.at_ms >= steps.first_ms)
    step = _step(t.at_ms, steps)
    sums = (func.sum(t.minted), func.sum(t.burned), func.sum(t.taxed), func.sum(t.escrowed))
    found: dict[str, dict[int, Level]] = {}
    for currency_id, at, *gained in c.execute(
        select(t.currency_id, step, *sums).where(*which).group_by(t.currency_id, step)
    ):
        of = found.setdefault(currency_id, {})
        number = steps.number(at)
        of[number] = Level(*(a + int(b) for a, b in zip(of.get(number, Level()), gained, strict=True)))
    return found


def _operations(
    c: Connection, game_id: str, steps: Steps
) -> tuple[list[tuple[str, int, int]], list[tuple[str, int, int]]]:
    t = economy_operation_tallies.c
    which = (t.game_id == game_id, t.grain_s == steps.window.grain_s, t.at_ms >= steps.first_ms)
    step = _step(t.at_ms, steps)
    query = select(t.action, t.code, step, func.sum(t.operations)).where(*which).group_by(t.action, t.code, step)
    done: list[tuple[str, int, int]] = []
    refused: list[tuple[str, int, int]] = []
    for action, code, at, times in c.execute(query):
        (done if code == OK else refused).append((action if code == OK else code, steps.number(at), int(times)))
    return done, refused


def _step(at_ms: Any, steps: Steps) -> Any:
    """Return where the step of a count begins."""
    step_ms = steps.window.step_s * 1_000
    return at_ms - at_ms % step_ms
