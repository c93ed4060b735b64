"""Composes the processes: `fairscore run`, `relay` and `indexer`. The only module that knows both packages.

Touches nothing by itself; starts everything else in order (port, chain, keys, contract, database, services) and stops
it in the reverse order, within two seconds.
"""

import asyncio
import gc
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import uvloop
from rich.console import Console

from indexer.ancestry import ChainIdentityError
from indexer.api.metrics import indexer_families
from indexer.app import IndexerService
from indexer.app import build as build_indexer
from indexer.config import IndexerSettings
from indexer.store.doubt_access import DoubtTables
from relay import logs
from relay.api.application import RelayParts, application, flag_operations
from relay.api.auth import KeyRing
from relay.api.devnet import DevnetProxy
from relay.api.games import game_operations
from relay.api.keys import key_operations
from relay.api.metrics import Fetch
from relay.api.operations import Operation
from relay.api.session_keys import identity_operations
from relay.api.sessions import own_domains
from relay.api.shields import Shields
from relay.api.webhook_metrics import webhook_families
from relay.app import RelayService
from relay.client_address import Proxies
from relay.config import Settings
from relay.deployment import DeploymentError
from relay.devnet import Devnet, DevnetError
from relay.devnet_info import write_info
from relay.errors import SignerError, StartupError
from relay.game_watch import LOOK_S, GameWatch, at_once
from relay.games import GameError, Games
from relay.health import Check
from relay.home import prepare
from relay.keccak import checksum_address
from relay.keyring import DevKeysError
from relay.private_file import KeyFileError
from relay.rules.ruleset import RulesetError
from relay.schedule import FLUSH_EVERY_S
from relay.server import PortInUseError, Server, listen
from relay.startup import Footing, games_of, publish, stand
from relay.store import migrate
from relay.store.engine import Database, StoreUnavailableError, open_database
from relay.store.keys import KeyStore
from relay.store.outbox_leases import ChainMismatchError, known_contract
from relay.store.writer import Writer
from relay.webhooks.child import WebhookProcess
from relay.welcome import first_grant, greet, tournament_round

GC_THRESHOLD = 50_000  # with `gc.freeze`, collections under load no longer make the slowest answers
READY_POLL_S = 0.05
ATTESTOR_POLL_S = 1.0
Flush = Callable[[], Awaitable[int]]
REFUSALS = (
    ChainIdentityError, ChainMismatchError, DeploymentError, DevKeysError, DevnetError, GameError, KeyFileError,
    PortInUseError, RulesetError, SignerError, migrate.SchemaVersionError, StoreUnavailableError,
)  # fmt: skip


def serve(settings: Settings, parts: Sequence[str], *, dev_keys: bool) -> None:
    """Run the named parts (`relay`, `indexer`) until a signal; returns after an orderly stop.

    Raises:
        StartupError: something is not as it must be; the message says what to change.
    """
    logs.configure(settings.log_level)
    if settings.embedded and tuple(parts) != ("relay", "indexer"):
        raise StartupError("name the chain with --rpc-url or FAIRSCORE_RPC_URL; only `fairscore run` brings its own")
    try:
        uvloop.run(Composition(settings, parts, dev_keys=dev_keys).run())
    except REFUSALS as refusal:
        raise StartupError(str(refusal)) from None


class Composition:
    """One process: what runs in it, and in which order it starts."""

    def __init__(self, settings: Settings, parts: Sequence[str], *, dev_keys: bool) -> None:
        self._settings, self._parts, self._dev_keys = settings, tuple(parts), dev_keys
        self._console = Console(highlight=False, soft_wrap=True)
        self._relay: RelayService | None = None
        self._indexer: IndexerService | None = None
        self._webhooks: WebhookProcess | None = None
        self._facts: list[tuple[str, str]] = []
        self._game_id = self._tournament = ""

    async def run(self) -> None:
        """Start, serve until a signal, stop."""
        prepare(self._settings.home)
        alone = self._parts == ("indexer",)
        async with AsyncExitStack() as stack:
            listener = listen(self._settings.host, self._settings.indexer_port if alone else self._settings.port)
            stack.callback(listener.close)
            url = f"http://{self._settings.host}:{listener.getsockname()[1]}"
            app = await self._start(stack, url)
            server = Server(app, self._end_streams)
            server.stop_on_signals()
            greeting = asyncio.create_task(self._greet(url))
            stack.callback(greeting.cancel)
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_THRESHOLD, 20, 20)
            await server.serve(sockets=[listener])

    async def _start(self, stack: AsyncExitStack, url: str) -> Any:
        """Start everything; returns the ASGI application."""
        settings, operations = self._settings, list[Operation]()
        if settings.games:
            games_of(settings, 0)  # a mistake there is found before a contract is deployed
        webhooks = self._webhooks_of(settings)
        database = self._open(stack)
        devnet: Devnet | None = None
        if settings.embedded:
            self._say("starting the embedded chain …")
            devnet = await Devnet.start(settings.home)
            stack.push_async_callback(devnet.stop)
            devnet.watch()
            proxy = DevnetProxy(devnet.rpc_url)
            stack.push_async_callback(proxy.close)
            operations += proxy.operations()

        async def known(chain_id: int, genesis: bytes) -> bytes | None:
            return await database.read(lambda connection: known_contract(connection, chain_id, genesis))

        alone = self._parts == ("indexer",)  # needs no key and uses none, though the same settings may name some
        footing = await stand(settings, devnet, known, self._say, dev_keys=self._dev_keys, follows_only=alone)
        stack.push_async_callback(footing.chain.close)
        writer = Writer(database)
        writer.start()
        stack.push_async_callback(writer.stop)
        games = games_of(settings, footing.chain_id)
        self._game_id = next(iter(games.by_id))
        self._tell(footing, url, database if devnet is not None else None)
        keys = KeyRing(database, writer)
        shields = Shields(settings.address_limit, settings.key_limit, Proxies(settings.trusted_proxies))

        async def flush() -> int:
            return await shields.report(database, writer) + await keys.flush()

        relay: RelayParts | None = None
        if "relay" in self._parts:
            inactive = await publish(footing, games, self._say)
            service = RelayService(settings, database, writer, footing, games, inactive, flush)
            relay = await self._start_relay(stack, service, database, writer)
            if devnet is not None:
                self._tournament = await service.desk.offer(self._game_id)
            operations += self._administration(service, database, writer, keys, url)
            if webhooks is not None:
                await self._start_webhooks(stack, webhooks, writer)
        if "indexer" in self._parts:
            indexer = await self._start_indexer(stack, database, writer, footing, games)
            operations = [*indexer.operations, *operations]
        if alone:
            operations += self._without_relay(stack, database, writer, games, flush)
        return application(
            ready=self._ready,
            fetches=self._fetches(),
            relay=relay,
            authenticate=keys,
            operations=operations,
            games=games,
            shields=shields,
        )

    def _fetches(self) -> list[Fetch]:
        """The parts' metrics that are not the relay's."""
        found: list[Fetch] = []
        if self._webhooks is not None:
            found.append(partial(webhook_families, self._webhooks.numbers))
        if self._indexer is not None:
            found.append(partial(indexer_families, self._indexer))
        return found

    def _open(self, stack: AsyncExitStack) -> Database:
        try:
            database = open_database(self._settings.database)
        except ValueError as wrong:
            raise StartupError(str(wrong)) from None
        stack.callback(database.close)
        for package in ("relay", "indexer"):  # whichever process comes first: both read the audit flags and evidence
            migrate.upgrade(database, package)
        return database

    async def _start_relay(
        self, stack: AsyncExitStack, service: RelayService, database: Database, writer: Writer
    ) -> RelayParts:
        await service.start()
        stack.push_async_callback(service.stop)
        self._relay = service
        noting = asyncio.create_task(self._note_attestor(service, DoubtTables(database, writer)))
        stack.callback(noting.cancel)
        return RelayParts(
            service.intake, database, service.revocations, service.outbox, service.players, service.economy,
            service.head,
        )  # fmt: skip

    def _without_relay(
        self, stack: AsyncExitStack, database: Database, writer: Writer, games: Games, flush: Flush
    ) -> list[Operation]:
        """Do what a relay's clock does elsewhere; returns the operations that an indexer alone has of it."""
        stack.callback(asyncio.create_task(_repeat(flush)).cancel)
        watch = GameWatch(games, database, at_once)
        watch.start()
        stack.push_async_callback(watch.stop)
        return flag_operations(database, writer, None)

    def _tell(self, footing: Footing, url: str, own: Database | None) -> None:
        """Note what is told when all is ready. `own`: the embedded chain's database, whose keys are written down."""
        self._facts = [("contract", checksum_address(footing.contract)), ("chain id", str(footing.chain_id))]
        if own is not None:
            self._facts.append(("JSON-RPC", f"{url}/devnet/rpc"))
            written = write_info(self._settings.home, url, footing, self._game_id, KeyStore(own))
            self._facts.append(("API keys", written))

    def _administration(
        self, service: RelayService, database: Database, writer: Writer, keys: KeyRing, url: str
    ) -> list[Operation]:
        """Return the operations about who may play and call: keys, games, sessions."""
        games, own = service.games, own_domains(url, self._settings.sign_in_domains)
        return [
            *key_operations(database, writer, keys),
            *game_operations(games, database, writer, service.game_watch),
            *identity_operations(service.players, games, database, writer, own, keys.forget),
        ]

    def _webhooks_of(self, settings: Settings) -> WebhookProcess | None:
        if "relay" not in self._parts or not settings.webhooks or not settings.deliver_webhooks:
            return None
        return WebhookProcess(settings.webhooks, settings.database, settings.log_level)

    async def _start_webhooks(self, stack: AsyncExitStack, webhooks: WebhookProcess, writer: Writer) -> None:
        await webhooks.start(writer)
        stack.push_async_callback(webhooks.stop)
        self._webhooks = webhooks

    async def _start_indexer(
        self, stack: AsyncExitStack, database: Database, writer: Writer, footing: Footing, games: Games
    ) -> IndexerService:
        configured = {game_id: self._settings.games.get(game_id, {}) for game_id in games.by_id}
        own = IndexerSettings(games=configured, finality=self._settings.finality)
        indexer = build_indexer(
            own,
            database,
            rpc_url=footing.rpc_url,
            contract=checksum_address(footing.contract),
            start_block=footing.start_block,
            rules=[game.rules for game in games.by_id.values()],
            writer=writer,
        )
        await indexer.start()
        stack.push_async_callback(indexer.stop)
        stack.callback(asyncio.create_task(_name_games(indexer, games)).cancel)
        self._indexer = indexer
        return indexer

    async def _note_attestor(self, service: RelayService, tables: DoubtTables) -> None:
        """Let indexers of this database know the key that this relay signs with; it can change while it runs."""
        noted: bytes | None = None
        while True:
            attestor = service.intake.attestor
            if attestor is not None and attestor.signer.address != noted:
                with suppress(StoreUnavailableError):
                    await tables.remember([attestor.signer.address])
                    noted = attestor.signer.address
            await asyncio.sleep(ATTESTOR_POLL_S)

    async def _ready(self) -> Mapping[str, Check]:
        found: dict[str, Check] = {}
        if self._relay is not None:
            found |= await self._relay.ready()
        if self._webhooks is not None:  # told, but never a reason to be not ready: receivers are not ours
            found["webhooks"] = Check(True, self._webhooks.detail())
        if self._indexer is not None:
            found |= {name: Check(*check) for name, check in self._indexer.ready().items()}
        return found

    def _end_streams(self) -> None:
        if self._indexer is not None:
            self._indexer.close_streams()

    def _say(self, text: str) -> None:
        self._console.print(text, style="dim", markup=False)

    async def _greet(self, url: str) -> None:
        """Print where to go once everything is ready; until then, what is not."""
        told: set[str] = set()
        while True:
            failing = {
                f"waiting: {name} ({check.detail})" for name, check in (await self._ready()).items() if not check.ok
            }
            if not failing:
                break
            for line in sorted(failing - told):
                self._say(line)
            told |= failing
            await asyncio.sleep(READY_POLL_S)
        player = checksum_address(secrets.token_bytes(20))
        page = self._indexer is not None
        shown = player if self._relay else ""
        greet(self._console, url, shown, self._game_id, self._facts, page=page, to_try=self._to_try(url))

    def _to_try(self, url: str) -> list[tuple[str, str]]:
        """Return lines to paste, each with what it does; on the embedded chain only, where keys are known."""
        if not self._tournament:
            return []
        home = self._settings.home
        played = "play a round of the open tournament, and confirm it as the game's server"
        granted = "found an economy: a currency, a player, a grant"
        return [
            (played, tournament_round(url, self._tournament, home)),
            (granted, first_grant(url, self._game_id, home)),
        ]


async def _repeat(flush: Flush) -> None:
    """Write down the use of keys now and then, where no relay's clock does."""
    while True:
        await asyncio.sleep(FLUSH_EVERY_S)
        with suppress(StoreUnavailableError):
            await flush()


async def _name_games(indexer: IndexerService, games: Games) -> None:
    """Let the indexer know the games that are configured while it runs."""
    while True:
        indexer.learn_games(games.by_id)
        await asyncio.sleep(LOOK_S)
