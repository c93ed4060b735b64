"""`fairscore check`: would a relay with these settings work, and if not, what is to be done?

Touches everything a relay touches and changes nothing: key files, database, RPC endpoints, contract.
"""

import asyncio
import time
from dataclasses import dataclass, field

from relay import check_chain, check_home
from relay.chain import Chain
from relay.chain_pool import ChainPool
from relay.chain_types import ChainError, ProviderState
from relay.check_chain import Standing
from relay.config import Settings
from relay.devnet import KEYS_NAME, DevnetError, load_keys
from relay.errors import StartupError
from relay.findings import Finding, State, failed, skipped
from relay.games import GameError
from relay.home import read_devnet, remembered_contract
from relay.keyring import DevKeysError, Keyring, for_development, of_devnet
from relay.rules.ruleset import RulesetError
from relay.startup import address, connect, games_of
from relay.store.probe import Probe

CHECK_TIMEOUT_S = 5.0
OF_CHAIN = ("contract", "roles", "rules", "balances")


def check(settings: Settings, *, dev_keys: bool) -> list[Finding]:
    """Look at everything, in the order in which a relay needs it."""
    return asyncio.run(Checkup(settings, dev_keys=dev_keys).run())


@dataclass
class Checkup:
    """One run. What is learned on the way is kept for the checks that need it."""

    settings: Settings
    dev_keys: bool
    keys: Keyring = field(default_factory=Keyring)
    probe: Probe | None = None
    findings: list[Finding] = field(default_factory=list)

    async def run(self) -> list[Finding]:
        """Return what was found."""
        self.probe, found = await asyncio.to_thread(check_home.look_at_database, self.settings)
        self.findings += found
        urls = self._urls()
        if not urls:
            todo = "set FAIRSCORE_RPC_URL; or start `fairscore run`, which brings its own chain"
            self.findings.append(failed("rpc", "no chain is named, and none of this home's is running", todo))
            await self._read_keys(None)
            return self._without_chain(newest_block_s=None)
        chain = connect(self.settings.model_copy(update={"rpc_timeout_s": CHECK_TIMEOUT_S}), urls)
        try:
            return await self._with_chain(chain)
        finally:
            await chain.close()

    def _urls(self) -> list[str]:
        if self.settings.embedded:
            url = read_devnet(self.settings.home).get("rpcUrl")
            return [url] if isinstance(url, str) else []
        return self.settings.rpc_urls

    async def _with_chain(self, chain: ChainPool) -> list[Finding]:
        standing: Standing | None = None
        newest_block_s: int | None = None
        try:
            await chain.examine()
            genesis = await chain.block(0)
            standing = Standing(await chain.chain_id(), genesis.hash if genesis is not None else b"")
            newest_block_s = (await chain.head()).timestamp
        except ChainError:
            standing = None  # the endpoints' own lines say why
        self.findings += check_chain.provider_findings(chain.providers())
        self.findings += await self._nodes(chain.providers())
        await self._read_keys(standing)
        if standing is None:
            return self._without_chain(newest_block_s)
        self.findings += check_chain.identity_findings(standing, self.probe.chains if self.probe else [])
        self._clock(newest_block_s)
        await self._contract(chain, standing)
        return self.findings

    async def _nodes(self, seen: list[ProviderState]) -> list[Finding]:
        """Ask every endpoint that showed a block what it is."""
        nodes = [
            (one.name, Chain(url, CHECK_TIMEOUT_S)) for one, url in zip(seen, self._urls(), strict=True) if one.head
        ]
        try:
            return await check_chain.node_findings(nodes)
        finally:
            for _, node in nodes:
                await node.close()

    def _without_chain(self, newest_block_s: int | None) -> list[Finding]:
        self._clock(newest_block_s)
        self.findings += [skipped(name, "an endpoint that answers") for name in OF_CHAIN]
        return self.findings

    def _clock(self, newest_block_s: int | None) -> None:
        database_s = self.probe.clock_ms / 1000 if self.probe is not None else None
        self.findings += check_home.clock_findings(time.time(), database_s, newest_block_s)

    async def _read_keys(self, standing: Standing | None) -> None:
        """Read the keys that a relay would use: the home's own, the well-known ones, or those that are named."""
        try:
            if self.settings.embedded:
                known = (self.settings.home / KEYS_NAME).exists()  # else there is nothing yet, and nothing is made
                self.keys = of_devnet(load_keys(self.settings.home)) if known else Keyring()
            elif self.dev_keys:
                self.keys = for_development(standing.chain_id) if standing is not None else Keyring()
            else:
                self.keys, found = await asyncio.to_thread(check_home.read_keys, self.settings)
                self.findings += found
                return
        except (DevKeysError, DevnetError) as refusal:
            self.findings.append(failed("keys", "cannot be used", str(refusal)))
        else:
            self.findings += check_home.key_findings(self.keys)

    async def _contract(self, chain: ChainPool, standing: Standing) -> None:
        """Look at the contract, and if it is ours, at what it grants and records; then at the accounts."""
        try:
            contract = self._known_contract(standing)
            code = await check_chain.code_finding(chain, contract, standing.chain_id)
            self.findings.append(code)
            if contract is not None and code.state is State.OK:
                self.findings += await check_chain.paused_findings(chain, contract)
                self.findings += await check_chain.role_findings(chain, contract, self.keys)
                games = games_of(self.settings, standing.chain_id)
                self.findings += await check_chain.rules_findings(chain, contract, games)
            else:
                self.findings += [skipped(name, "the contract") for name in ("roles", "rules")]
        except (GameError, RulesetError, StartupError) as wrong:
            self.findings.append(failed("settings", "cannot be used", str(wrong)))
        except ChainError as error:
            self.findings.append(check_chain.refusal("contract", error))
        try:
            self.findings += await check_chain.balance_findings(
                chain,
                self.keys,
                batch_size=self.settings.batch_size,
                fee_wei_cap=self.settings.fee_cap_gwei * 10**9,
                paused=self.probe.paused if self.probe is not None else {},
            )
        except ChainError as error:
            self.findings.append(check_chain.refusal("balances", error))

    def _known_contract(self, standing: Standing) -> bytes | None:
        if self.settings.contract:
            return address(self.settings.contract, "FAIRSCORE_CONTRACT")
        remembered = remembered_contract(self.settings.home, standing.chain_id, standing.genesis)
        if remembered is not None:
            return remembered.contract
        chains = self.probe.chains if self.probe is not None else []
        same = (one.contract for one in chains if (one.chain_id, one.genesis) == standing)
        return next(same, None)
