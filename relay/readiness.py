"""What GET /health/ready says of a relay: every check that is really made, by name.

Touches the database and the chain, once per question. A check fails where this process cannot do its work; what waits
for an operator although everything works (a pause, a backlog, revocations) is told and fails nothing: a load balancer
that took all relays away for it would refuse scores that could be kept.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from relay.chain_types import ChainError, ProviderState
from relay.fleet import Fleet
from relay.health import Check
from relay.keccak import checksum_address
from relay.signing_policy import MODERATION
from relay.store import outbox_view, revocations
from relay.store.engine import Database, StoreUnavailableError
from relay.store.outbox_view import Depth
from relay.store.revocations import Backlog

TOLD = frozenset({"paused"}) | MODERATION
"""What fails nothing: a pause is somebody's decision, and while revocations wait scores are taken and sent."""

NO_BLOCK = ("accepted", "queued", "sent")
COIN = 10**18


class ReadyChain(Protocol):
    """What readiness needs of a chain (`relay.chain_pool.ChainPool`)."""

    def providers(self) -> list[ProviderState]:
        """Every endpoint as last seen."""

    async def chain_id(self) -> int:
        """EIP-155 id."""

    async def code(self, address: bytes) -> bytes:
        """Code at an address."""


class Readiness:
    """The checks of one relay. `inactive_rules`: games whose rules the contract did not accept at the start."""

    def __init__(
        self,
        database: Database,
        chain: ReadyChain,
        chain_id: int,
        contract: bytes,
        fleet: Fleet,
        inactive_rules: Sequence[str],
    ) -> None:
        self._database, self._chain, self._chain_id, self._contract = database, chain, chain_id, contract
        self._fleet, self._inactive = fleet, inactive_rules

    async def look(self) -> dict[str, Check]:
        """Return what is seen now."""
        return {**await self._stored(), **await self._on_chain(), **self._sending(), "rules": self._rules()}

    async def _stored(self) -> dict[str, Check]:
        try:
            depth, orders = await self._database.read(lambda c: (outbox_view.depth(c), revocations.backlog(c)))
        except StoreUnavailableError as error:
            return {"database": Check(False, f"does not answer ({error})")}
        found = {"database": Check(True, self._database.dialect), "backlog": Check(True, backlog(depth))}
        waiting = next((one for one in orders if one.state == "waiting"), None)
        if waiting is not None:
            found["revocations"] = Check(True, self._revocations(waiting))
        return found

    def _revocations(self, waiting: Backlog) -> str:
        why = waiting.detail
        if not any("invalidate" in outbox.carries for outbox in self._fleet.outboxes.values()):
            why = "this process holds no auditor's key (FAIRSCORE_AUDITOR_KEY_FILE), so another one has to send them"
        return f"{waiting.orders} wait: {why or 'about to be sent'}"

    async def _on_chain(self) -> dict[str, Check]:
        try:
            found = await self._chain.chain_id()
            code = await self._chain.code(self._contract)
        except ChainError as error:
            return {"chain": Check(False, f"the endpoint does not answer ({error})")}
        if found != self._chain_id:
            return {"chain": Check(False, f"the endpoint is on chain {found}, not {self._chain_id}")}
        unused = [f"; {one.name}: {one.reason}" for one in self._chain.providers() if not one.healthy]
        at = checksum_address(self._contract)
        return {
            "chain": Check(True, f"chain {found}{''.join(unused)}"),
            "contract": Check(bool(code), at if code else f"there is no code at {at}: check FAIRSCORE_CONTRACT"),
        }

    def _sending(self) -> dict[str, Check]:
        """Say what each sender says of itself; the chain's own line says more about the chain."""
        if not self._fleet.outboxes:
            return {"outbox": Check(True, "this process sends nothing: it has no gas key")}
        lines = self._fleet.ready()
        lines.pop("chain", None)
        found = {name: Check(line.ok or name in TOLD, line.detail) for name, line in lines.items()}
        balances = {address: outbox.meter.balance_wei for address, outbox in self._fleet.outboxes.items()}
        short = lines.get("gas")  # what the senders say of a balance that does not last
        found["balance"] = Check(True, balance(balances)) if short is None else Check(*short)
        return {name: check for name, check in found.items() if name != "gas"}

    def _rules(self) -> Check:
        if not self._inactive:
            return Check(True, "active on the contract")
        return Check(False, f"not active for {', '.join(self._inactive)}: let the admin publish them")


def backlog(depth: Mapping[str, Depth]) -> str:
    """Return how many scores are in no block yet, and how many wait for a person."""
    waiting = sum(depth[state].size for state in NO_BLOCK)
    aside = [f"; {depth[state].size} {state}" for state in ("held", "parked") if depth[state].size]
    return f"{waiting} scores in no block{''.join(aside)}"


def balance(balances: Mapping[bytes, int | None]) -> str:
    """Return what the accounts held when they were last asked."""
    return "; ".join(
        f"{checksum_address(address)}: {'not asked yet' if held is None else f'{held / COIN:.6f}'}"
        for address, held in sorted(balances.items())
    )
