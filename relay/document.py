"""The OpenAPI document of the whole system, and the table of its roles, without running it.

Builds the services over an empty database in a temporary folder and starts none of them. Knows both packages, as
`relay.run` does, because the document describes both.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from indexer.app import build as build_indexer
from indexer.config import IndexerSettings
from relay.api.application import RelayParts, document_of, relay_operations, system_operations
from relay.api.auth import KeyRing
from relay.api.devnet import DevnetProxy
from relay.api.economy import economy_parts
from relay.api.games import game_operations
from relay.api.keys import key_operations
from relay.api.metrics import Metrics, RequestCounts
from relay.api.operations import Operation
from relay.api.outbox_parts import OutboxParts
from relay.api.revocations import Revocations
from relay.api.roles import roles_table
from relay.api.session_keys import identity_operations
from relay.attestation import Domain
from relay.chain_pool import ChainPool
from relay.config import Settings
from relay.game_watch import GameWatch
from relay.games import Game, Games
from relay.health import Check
from relay.intake import Intake
from relay.players import Players
from relay.progress import Progress
from relay.startup import DEFAULT_GAME, games_of
from relay.store.checkpoints import Where
from relay.store.engine import open_database
from relay.store.writer import Writer

NOWHERE = "http://127.0.0.1:1"
NOBODY = "0x" + "00" * 20


def openapi_document() -> bytes:
    """Return the document as JSON, indented."""
    with whole_system() as listed:
        return msgspec.json.format(msgspec.json.encode(document_of(listed)), indent=1)


def roles_document() -> str:
    """Return the table of which role may call what, in Markdown."""
    with whole_system() as listed:
        return roles_table(listed)


@contextmanager
def whole_system() -> Iterator[list[Operation]]:
    """Give the operations of every part, of services that are built and not started."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{Path(folder) / 'empty.db'}")
        writer = Writer(database)
        progress = Progress()
        revocations = Revocations(database, writer, progress, lambda: None)
        nowhere = ChainPool([])
        outbox = OutboxParts(database, writer, nowhere, 0, dict, nowhere.providers)
        relay = RelayParts(
            Intake(writer, database, None, _games(), progress), database, revocations, outbox,
            Players(database, nowhere, Domain(1, bytes(20))),
            economy_parts(database, writer, _games(), Where(1, bytes(20))),
        )  # fmt: skip
        indexer = build_indexer(
            IndexerSettings(games={DEFAULT_GAME: {}}), database, rpc_url=NOWHERE, contract=NOBODY, writer=writer
        )
        games = relay.intake.games
        administration = [
            *key_operations(database, writer, KeyRing(database, writer)),
            *game_operations(games, database, writer, GameWatch(games, database, _never)),
            *identity_operations(relay.players, games, database, writer),
        ]
        try:
            yield [
                *relay_operations(relay), *administration, *indexer.operations, *DevnetProxy(NOWHERE).operations(),
                *system_operations(_ready, Metrics(RequestCounts(), [])),
            ]  # fmt: skip
        finally:
            database.close()


def _games() -> Games:
    return games_of(Settings(games={}), 0)


async def _never(game: Game) -> str:  # noqa: ARG001 - nothing is opened while a document is written
    return "not running"


async def _ready() -> dict[str, Check]:
    return {}
