"""The senders of this process: one outbox per key, started, drained and stopped as keys come and go.

Touches the outboxes that it builds and holds. What becomes of each key is decided by `changes`, which is pure.
"""

import logging
import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from relay.attestation import Domain
from relay.keccak import checksum_address
from relay.keyring import Keyring, Signer, senders
from relay.outbox.anchors import AnchorCargo
from relay.outbox.cargo import Cargo
from relay.outbox.desk import Desk, Listener, OutboxChain, OutboxSettings, Readiness
from relay.outbox.loop import Outbox
from relay.outbox.revocations import KINDS, ModerationCargo
from relay.outbox.scores import ScoreCargo
from relay.signing_policy import ATTESTATIONS, Guarded, TransactionPolicy, allowed
from relay.store.checkpoint_moves import CheckpointRows
from relay.store.engine import Database
from relay.store.outbox import OutboxStore
from relay.store.outbox_leases import abandoned
from relay.store.outbox_scores import ScoreRows
from relay.store.revocation_moves import OrderRows
from relay.store.writer import Writer

log = logging.getLogger(__name__)


class Job(NamedTuple):
    """What one key is for: the kinds of cargo it carries; `attester` signs those of them that are attestations."""

    signer: Signer
    attester: Signer | None
    kinds: frozenset[str]


class Change(Enum):
    """What becomes of a key's outbox."""

    START = "start"
    DRAIN = "drain"  # no new batches; what is under way is finished
    RESUME = "resume"  # wanted again while it was drained
    STOP = "stop"  # drained: nothing of it is under way


class Running(NamedTuple):
    """An outbox of this process as far as `changes` needs to know it."""

    kinds: frozenset[str]
    draining: bool
    finished: bool  # nothing of this key is under way


def jobs(keys: Keyring) -> dict[bytes, Job]:
    """Return what each account of the keyring does; without an attestation key nothing is scored."""
    found: dict[bytes, Job] = {}
    for address, (signer, carried) in senders(keys).items():
        kinds = carried if keys.attestation is not None else carried - ATTESTATIONS
        if kinds:
            found[address] = Job(signer, keys.attestation, kinds)
    return found


def changes(running: Mapping[bytes, Running], wanted: Mapping[bytes, frozenset[str]]) -> dict[bytes, Change]:
    """Return what to change so that the keys wanted run, each with its kinds of cargo, and no others.

    A key whose kinds changed is drained and then started anew, as one that was taken away and came back.
    """
    found: dict[bytes, Change] = {address: Change.START for address in wanted if address not in running}
    for address, one in running.items():
        keep = wanted.get(address) == one.kinds
        if keep and one.draining:
            found[address] = Change.RESUME
        elif not keep and one.draining and one.finished:
            found[address] = Change.STOP
        elif not keep and not one.draining:
            found[address] = Change.DRAIN
    return found


@dataclass(frozen=True)
class Edges:
    """What every outbox of this process works with."""

    chain: OutboxChain
    database: Database
    writer: Writer
    domain: Domain
    listener: Listener
    settings: OutboxSettings


class Fleet:
    """Every outbox of this process, by the address of its key. All methods belong to one event loop."""

    def __init__(self, edges: Edges) -> None:
        self.outboxes: dict[bytes, Outbox] = {}
        self._edges = edges
        self._jobs: dict[bytes, Job] = {}
        # Random, because two containers can share a host name and a process id, and must not share a lease.
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    async def adjust(self, wanted: Mapping[bytes, Job]) -> None:
        """Start, drain, resume and stop, so that `wanted` comes to be; again until nothing is left to change.

        Raises ChainMismatchError or ChainError where an outbox cannot start; the others are as they should be.
        """
        running = {address: await self._state(address, outbox) for address, outbox in self.outboxes.items()}
        for address, outbox in self.outboxes.items():
            if address in wanted and wanted[address].kinds == self._jobs[address].kinds:
                self._refit(outbox, wanted[address])
        for address, change in changes(running, {address: job.kinds for address, job in wanted.items()}).items():
            if change is Change.START:
                outbox = self._build(wanted[address])
                await outbox.start()
                self.outboxes[address], self._jobs[address] = outbox, wanted[address]
            elif change is Change.STOP:
                await self._stop(address)
            else:
                self.outboxes[address].desk.draining = change is Change.DRAIN
            log.info("gas key", extra={"address": checksum_address(address), "change": change.value})

    async def _stop(self, address: bytes) -> None:
        """Stop a drained outbox; one whose last step began before it was drained, and sealed, goes on instead."""
        outbox = self.outboxes[address]
        await outbox.stop()
        if await _unfinished(outbox):
            await outbox.start()
        else:
            del self.outboxes[address], self._jobs[address]

    def _build(self, job: Job) -> Outbox:
        edges = self._edges
        store = OutboxStore(edges.writer, edges.database, edges.domain.chain_id, job.signer.address, self._holder)
        orders, auditor = OrderRows(edges.database), job.signer.address
        cargoes: dict[str, Cargo[Any]] = {  # before scores: they are few, and somebody waits for each
            kind: ModerationCargo(action, edges.chain, orders, auditor, edges.domain, edges.settings)
            for action, kind in KINDS.items()
            if kind in job.kinds
        }
        if job.attester is not None and job.kinds >= ATTESTATIONS:
            more = (job.attester, edges.domain, edges.settings)
            cargoes["anchor"] = AnchorCargo(edges.chain, CheckpointRows(edges.database), *more)
            cargoes["scores"] = ScoreCargo(edges.chain, ScoreRows(edges.database), *more)
        return Outbox(
            Desk(
                edges.chain,
                store,
                self._guarded(job),
                cargoes,
                edges.domain,
                edges.listener,
                time.monotonic,
                edges.settings,
            )
        )

    def _guarded(self, job: Job) -> Guarded:
        domain, cap = self._edges.domain, self._edges.settings.fee_wei_cap
        return Guarded(job.signer, TransactionPolicy(domain.chain_id, domain.contract, allowed(job.kinds), cap))

    def _refit(self, outbox: Outbox, job: Job) -> None:
        """Use the job's signers from the next signature on: a key may have moved, or have been replaced."""
        before = self._jobs[job.signer.address]
        if before.signer is not job.signer:
            outbox.desk.gas_signer = self._guarded(job)
        for cargo in outbox.desk.cargoes.values():
            if isinstance(cargo, ScoreCargo | AnchorCargo) and job.attester is not None:
                cargo.attester = job.attester
        self._jobs[job.signer.address] = job

    async def _state(self, address: bytes, outbox: Outbox) -> Running:
        draining = outbox.desk.draining
        finished = draining and not await _unfinished(outbox)
        return Running(self._jobs[address].kinds, draining, finished)

    async def abandoned(self) -> list[bytes]:
        """Return the accounts with transactions under way that nobody finishes: no process holds their key."""
        database, chain_id = self._edges.database, self._edges.domain.chain_id
        return await database.read(lambda c: abandoned(c, chain_id, database.now_ms(c)))

    async def stop(self) -> None:
        """Stop all, each after the step under way at most."""
        for outbox in self.outboxes.values():
            await outbox.stop()

    def wake(self) -> None:
        """Something was accepted, and any of them may carry it."""
        for outbox in self.outboxes.values():
            outbox.wake()

    @property
    def head_number(self) -> int | None:
        """The newest block that any of them has seen."""
        return max((o.head_number for o in self.outboxes.values() if o.head_number is not None), default=None)

    def ready(self) -> dict[str, Readiness]:
        """What works and what does not, by name; where several keys have something to say, each says whose it is."""
        lines: dict[str, list[tuple[bytes, Readiness]]] = {}
        for address, outbox in self.outboxes.items():
            for name, line in outbox.ready().items():
                lines.setdefault(name, []).append((address, line))
        return {name: self._merged(found) for name, found in lines.items()}

    @staticmethod
    def _merged(found: list[tuple[bytes, Readiness]]) -> Readiness:
        failing = [(address, line.detail) for address, line in found if not line.ok]
        told = failing or [(address, line.detail) for address, line in found]
        if len({detail for _, detail in told}) == 1 and len(told) == len(found):
            return Readiness(not failing, told[0][1])
        return Readiness(not failing, "; ".join(f"{checksum_address(address)}: {detail}" for address, detail in told))


async def _unfinished(outbox: Outbox) -> bool:
    slots, _ = await outbox.desk.store.look()
    return bool(slots)
