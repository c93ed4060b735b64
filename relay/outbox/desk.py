"""What the outbox works with: its edges as Protocols, its settings, and what it remembers between steps.

Pure (types only). Everything remembered here can be rebuilt from the database; losing it costs a few extra reads.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from relay.attestation import Domain
from relay.chain_types import Block, Fees, Log, Receipt, SendAnswer
from relay.contract_records import MAX_BATCH
from relay.outbox.batches import BatchLimits
from relay.outbox.cargo import Cargo, Due, Effect
from relay.outbox.fees import FeeKind, market_as
from relay.outbox.meter import Meter
from relay.outbox.pace import Pace
from relay.outbox.slots import Policy, Sent
from relay.store.outbox import OutboxStore, SealConflictError, StoredBatch

Hook = Callable[[str], None]
"""Called with the name of the point reached, before and after every commit and send: where a test may crash it."""


def no_hook(_point: str) -> None:
    """Pass every point."""


class OutboxChain(Protocol):
    """What the outbox needs of a chain (`relay.chain.Chain`, or the tests' simulated one)."""

    async def head(self) -> Block:
        """Newest block."""

    async def block(self, tag: int | str) -> Block | None:
        """A block by number or tag."""

    async def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        """Blocks by number."""

    async def finalized(self, confirmations: int, head: Block) -> int:
        """Highest final block number."""

    async def nonce(self, address: bytes, tag: int | str = "latest") -> int:
        """Next nonce as of `tag`."""

    async def balance(self, address: bytes) -> int:
        """Wei."""

    async def code(self, address: bytes) -> bytes:
        """Code at an address; empty for a plain account."""

    async def fees(self) -> Fees:
        """Fee market."""

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """eth_call."""

    async def calls(self, to: bytes, data: Sequence[bytes]) -> list[bytes]:
        """Several eth_calls, in order; the first error is raised."""

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        """eth_estimateGas."""

    async def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Receipts by hash."""

    async def logs(
        self, address: bytes, topics: Sequence[bytes | Sequence[bytes] | None], first: int, last: int | None = None
    ) -> list[Log]:
        """eth_getLogs."""

    async def send_raw(self, raw: bytes) -> SendAnswer:
        """eth_sendRawTransaction; never raises for what the endpoint does."""

    async def confirm_absent(self, address: bytes, hashes: Sequence[bytes], nonce: int, block: int) -> bool:
        """Whether a second provider, if there is one, agrees: nonce used as of the block, by none of these."""

    async def confirm_failed(self, tx_hash: bytes, block_hash: bytes) -> bool:
        """Whether a second provider, if there is one, agrees: this transaction failed in this block."""


class GasSigner(Protocol):
    """Signs and pays for transactions; cannot sign scores."""

    @property
    def address(self) -> bytes:
        """20 bytes."""

    def sign_transaction(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Return (raw transaction, its hash)."""


class Listener(Protocol):
    """Who is told of status changes, after their commit (`relay.progress.Progress`)."""

    def changed(self, ids: Iterable[str], status: str, tx_hash: bytes | None) -> None:
        """Wake the waiters of these submissions."""


class Readiness(NamedTuple):
    """One line of a health answer."""

    ok: bool
    detail: str


@dataclass(frozen=True)
class OutboxSettings:
    """How one key sends on one kind of chain. What is None follows the chain's pace."""

    limits: BatchLimits = field(default_factory=lambda: BatchLimits(size=MAX_BATCH))
    confirmations: int = 0  # until final; 0: the chain's `finalized` tag
    poll_ms: int | None = None  # between looks at the chain
    step_gap_ms: int = 40  # between steps at least, however often new work wakes it
    in_flight_max: int = 16  # transactions that are not mined; nodes queue at least so many per account
    policy: Policy | None = None
    deadline_s: int = 86_400  # a batch's signature is good for so long
    fees: FeeKind = "auto"
    fee_wei_cap: int = 500 * 10**9  # per gas; at the cap it keeps rebroadcasting and says so
    estimate_gas: bool = True  # ask the chain (its prices may differ from Ethereum's), else trust the gas model
    start_block: int = 0  # of the contract: where logs begin
    lease_ttl_ms: int = 10_000
    steal_lease: bool = False  # the database belongs to this process alone: no need to wait for a dead predecessor


class CargoUnknownError(Exception):
    """A nonce of the key carries a kind of cargo that this process was not given."""


@dataclass
class Desk:
    """The outbox's edges, settings and memory, handed to its parts.

    `cargoes`: every kind the key may carry, by its name; a kind that comes first fills first.
    """

    chain: OutboxChain
    store: OutboxStore
    gas_signer: GasSigner
    cargoes: Mapping[str, Cargo[Any]]
    domain: Domain
    listener: Listener
    clock: Callable[[], float]  # seconds that only rise
    settings: OutboxSettings = field(default_factory=OutboxSettings)
    hook: Hook = no_hook
    draining: bool = False  # the key is being taken out of use: nothing more is sealed, everything else goes on
    meter: Meter = field(default_factory=Meter)
    pace: Pace = field(default_factory=Pace)
    single: bool = False  # the account has code (EIP-7702): nodes take one transaction of it at a time
    first_look: tuple[tuple[int, bytes], float] | None = None  # of a key without history: (nonce, head), since when
    reconciled: bool = False  # the database knows every nonce that the chain has seen of its keys
    gas_ratio: dict[str, float] = field(default_factory=dict)  # this chain's gas to the cargo's bound, by kind; >= 1
    gas_known: dict[str, int] = field(default_factory=dict)  # size of the largest plan that it was learned from
    batches: dict[int, StoredBatch] = field(default_factory=dict)
    sent_at: dict[bytes, Sent] = field(default_factory=dict)
    underpriced: set[bytes] = field(default_factory=set)  # attempts whose fee a node refused
    trouble: dict[str, str] = field(default_factory=dict)
    careful: set[str] = field(default_factory=set)  # kinds that failed: try out before sealing, until nothing waits

    @property
    def policy(self) -> Policy:
        """When to send again and when to raise fees."""
        return self.settings.policy or self.pace.policy

    @property
    def poll_ms(self) -> int:
        """How often to look at the chain."""
        return self.pace.poll_ms if self.settings.poll_ms is None else self.settings.poll_ms

    @property
    def wait_ms(self) -> int:
        """How long an item waits for company."""
        return self.pace.wait_ms if self.settings.limits.wait_ms is None else self.settings.limits.wait_ms

    async def market(self) -> Fees:
        """The fee market, as the kind of transactions that this key sends sees it."""
        return market_as(await self.chain.fees(), self.settings.fees)

    def gas_bound(self, cargo: Cargo[Any], size: int) -> int:
        """Upper bound of the gas of a batch, under this chain's prices as far as they are known."""
        return round(cargo.gas_limit(size) * self.gas_ratio.get(cargo.kind, 1.0))

    def report(self, name: str, sentence: str | None) -> None:
        """Say what is wrong under a name, or with None that it is not (any more)."""
        if sentence is None:
            self.trouble.pop(name, None)
        else:
            self.trouble[name] = sentence

    async def batch(self, batch_id: int) -> StoredBatch:
        """A sealed batch, from memory or the database."""
        found = self.batches.get(batch_id)
        if found is None:
            found = self.batches[batch_id] = await self.store.batch(batch_id)
        return found

    def cargo(self, batch: StoredBatch) -> Cargo[Any]:
        """What knows the batch's contents. Raises CargoUnknownError."""
        found = self.cargoes.get(batch.kind)
        if found is None:
            raise CargoUnknownError(
                f"batch {batch.batch_id} of this key holds {batch.kind!r}, which nothing here knows"
            )
        return found

    async def due(self, cargo: Cargo[Any], head: Block, slots_free: int, wait_ms: int) -> Due[Any]:
        """Let a cargo choose what to seal, and write down what became clear meanwhile."""
        due = await cargo.due(head, slots_free, wait_ms)
        if due.effect is not None:
            await self.note(due.effect)
        self.report(cargo.kind, due.trouble)
        return due

    async def note(self, effect: Effect) -> bool:
        """Write down what became clear of waiting items; False: one does not wait any more, and nothing is stored."""
        self.hook("note")
        try:
            await self.store.apply(effect.move)
        except SealConflictError:
            return False
        self.hook("noted")
        self.tell(effect)
        return True

    def tell(self, effect: Effect) -> None:
        """Announce what an effect did; call after its commit."""
        for ids, status, tx_hash in effect.news:
            self.listener.changed(ids, status, tx_hash)

    def close(self, batch_id: int, hashes: Iterable[bytes]) -> None:
        """Forget a batch that is over."""
        self.batches.pop(batch_id, None)
        for tx_hash in hashes:
            self.sent_at.pop(tx_hash, None)
            self.underpriced.discard(tx_hash)

    def forget(self) -> None:
        """Drop what another sender may have changed."""
        self.batches.clear()
        self.sent_at.clear()
        self.underpriced.clear()
        self.reconciled = False
