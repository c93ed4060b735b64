"""A relay without a chain: database, writer, intake and HTTP application, all real."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from relay.api.application import RelayParts, application
from relay.api.asgi import Api
from relay.api.auth import KeyRing
from relay.api.economy import economy_parts
from relay.api.games import game_operations
from relay.api.keys import key_operations
from relay.api.outbox_parts import OutboxParts
from relay.api.revocations import Revocations
from relay.api.session_keys import identity_operations
from relay.attestation import Domain
from relay.chain_pool import ChainPool
from relay.game_watch import GameWatch
from relay.games import Game, GameConfig, Games
from relay.group import Attestor
from relay.health import Check
from relay.intake import Intake
from relay.players import CallsContracts, Players
from relay.progress import Progress
from relay.signer import LocalSigner
from relay.store import intake as submissions
from relay.store import migrate
from relay.store.checkpoints import Where
from relay.store.engine import Database, open_database
from relay.store.keys import KeyStore
from relay.store.writer import Writer

SECRET = bytes.fromhex("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")
DOMAIN = Domain(31337, bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3"))
PLAYER = "0x52908400098527886E0F7030069857D2E4169EE7"
PLAY = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30000}


@dataclass
class Reply:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: list[tuple[bytes, bytes]] = field(default_factory=list)  # headers as sent, repeated ones too

    @property
    def json(self) -> Any:
        """The body as a value."""
        return json.loads(self.body)


@dataclass
class Relay:
    """What a test may touch."""

    database: Database
    writer: Writer
    intake: Intake
    api: Api
    keys: KeyStore
    woken: list[None]  # an entry for each time the sender was told to look for work
    checks: dict[str, Check] = field(default_factory=dict)
    watch: GameWatch | None = None

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """Send one request through plain ASGI."""
        path, _, query = path.partition("?")
        given = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": given}
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body or b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.api(scope, receive, send)
        start, content = sent
        found = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Reply(start["status"], found, content["body"], start["headers"])

    async def submit(self, body: object = None, **headers: str) -> Reply:
        """Post a score, by default answered at once."""
        raw = body if isinstance(body, bytes) else json.dumps(body or play()).encode()
        named = {"prefer": "respond-async"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.request("POST", "/api/submit-score", raw, named)


def play(player: str = PLAYER, **changes: Any) -> dict[str, Any]:
    """A submission that is accepted, changed as told; keys of the play go into `scoreData`."""
    body: dict[str, Any] = {"playerAddress": player, "scoreData": dict(PLAY)}
    for name, value in changes.items():
        (body["scoreData"] if name in PLAY else body)[name] = value
    return body


@asynccontextmanager
async def running(
    url: str, *games: GameConfig, signer: bool = True, chain: CallsContracts | None = None
) -> AsyncIterator[Relay]:
    """A relay over the database at `url`; contract wallets are asked on `chain`, else nowhere."""
    database = open_database(url)
    migrate.upgrade(database, "relay")
    writer = Writer(database)
    writer.start()
    configured = Games(list(games) or [GameConfig("streambeat", anonymous_submit=True, allowed_origins=("*",))])
    attestor = Attestor(LocalSigner(SECRET), DOMAIN, 86_400) if signer else None
    progress = Progress(lambda submission_id: submissions.standing(database, submission_id), poll_s=0.02)
    intake = Intake(writer, database, attestor, configured, progress)
    await intake.start()
    checks = {"database": Check(True, "answers")}

    async def ready() -> dict[str, Check]:
        return checks

    woken: list[None] = []
    revocations = Revocations(database, writer, progress, lambda: woken.append(None))
    nowhere = ChainPool([])
    outbox = OutboxParts(database, writer, nowhere, DOMAIN.chain_id, dict, nowhere.providers)
    players = Players(database, chain or nowhere, DOMAIN)
    economy_writer = Writer(database, group_max=1)
    economy_writer.start()
    economy = economy_parts(database, economy_writer, configured, Where(DOMAIN.chain_id, bytes(20)))
    parts = RelayParts(intake, database, revocations, outbox, players, economy)
    ring, watch = KeyRing(database, writer), GameWatch(configured, database, _open)
    administration = [
        *key_operations(database, writer, ring),
        *identity_operations(players, configured, database, writer, ("game.example",), ring.forget),
        *game_operations(configured, database, writer, watch),
    ]
    api = application(ready=ready, relay=parts, authenticate=ring, operations=administration)
    try:
        yield Relay(database, writer, intake, api, KeyStore(database), woken, checks, watch)
    finally:
        await watch.stop()
        await intake.stop()
        await economy.intake.stop()
        await economy_writer.stop()
        await writer.stop()
        database.close()


async def _open(game: Game) -> str:
    """Without a contract there is nothing to wait for."""
    return ""


Running = Callable[..., AbstractAsyncContextManager[Relay]]


@pytest.fixture
def relay_at() -> Running:
    """`async with relay_at(url, *games) as relay:` starts a relay without a chain."""
    return running


@pytest.fixture
def make_play() -> Callable[..., dict[str, Any]]:
    """`make_play(score=…, gameTime=…)` is a submission's body."""
    return play
