"""The outbox of one gas key: a loop that observes, settles, sends and fills, and can be killed at any point.

Touches the chain and the store through its desk, and the event loop. It decides nothing itself: `batches`, `slots`,
`fees` and `send_errors` do.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence

from relay.chain_types import Block, ChainError
from relay.outbox.desk import Desk, Readiness
from relay.outbox.fill import fill
from relay.outbox.meter import Meter
from relay.outbox.pace import SAMPLE_BLOCKS, measure
from relay.outbox.send import carry_out
from relay.outbox.settle import settle
from relay.outbox.slots import Slot, SlotState, worst_case
from relay.store.engine import StoreUnavailableError
from relay.store.outbox import LeaseLostError

log = logging.getLogger(__name__)

BACKOFF_S_MAX = 2.0
LONGEST_STEP_LEASES = 12
SURVEY_S, SURVEY_S_FIRST = 60.0, 5.0


class Outbox:
    """Carries accepted scores to the contract, exactly once. `start` it once; `wake` it after each commit of work."""

    def __init__(self, desk: Desk) -> None:
        """The desk's store is bound to its gas signer's address and the chain's id; its domain names the contract."""
        self.desk = desk
        self.head_number: int | None = None  # newest block seen
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._leads = False
        self._renew_at = 0.0
        self._beat: asyncio.Task[None] | None = None
        self._step_began: float | None = None  # by our clock, while a step runs
        self._waits_ms: int | None = None
        self._survey_at = 0.0
        self._surveyed: tuple[int, float] | None = None  # head number and clock at the last survey
        self._settled_at: bytes | None = None  # hash of the head for which everything was settled

    async def start(self) -> None:
        """Check that the chain is the one this database belongs to, then run until `stop`.

        Raises ChainMismatchError when it is not, ChainError when the endpoint does not answer.
        """
        genesis = await self.desk.chain.block(0)
        if genesis is not None:
            await self.desk.store.bind(genesis.hash, self.desk.domain.contract)
        self._task = asyncio.create_task(self._run(), name="outbox")
        self._beat = asyncio.create_task(self._heartbeat(), name="outbox-heartbeat")

    async def stop(self) -> None:
        """Stop after the step under way at most; whatever was committed is resumed by the next start."""
        for task in (self._beat, self._task):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._beat = self._task = None
        with contextlib.suppress(StoreUnavailableError):
            await self.desk.store.release()

    def wake(self) -> None:
        """Something was accepted (call on the event loop, after the commit)."""
        self._wake.set()

    @property
    def meter(self) -> Meter:
        """What it counted since it was started."""
        return self.desk.meter

    @property
    def carries(self) -> Sequence[str]:
        """The kinds of cargo it may carry."""
        return tuple(self.desk.cargoes)

    @property
    def leads(self) -> bool:
        """Whether this process holds the key's lease, as far as it knows."""
        return self._leads

    @property
    def trouble(self) -> Mapping[str, str]:
        """What is in the way, by a short name: each a sentence for the operator."""
        return self.desk.trouble

    def ready(self) -> dict[str, Readiness]:
        """What works and what does not, by name, for GET /health/ready."""
        trouble = self.desk.trouble
        running = self._task is not None and not self._task.done()
        checks = {
            "chain": Readiness("chain" not in trouble, trouble.get("chain", "the endpoint answers")),
            "outbox": Readiness(running, "leads" if self._leads else "stands by: another process sends"),
        }
        checks |= {name: Readiness(False, detail) for name, detail in trouble.items() if name != "chain"}
        return checks

    async def _run(self) -> None:
        failures = 0
        while True:
            self._step_began = self.desk.clock()
            try:
                await self.step()
                failures = 0
                self.desk.trouble.pop("chain", None)
                self.desk.trouble.pop("store", None)
                self.desk.trouble.pop("outbox", None)
            except LeaseLostError:
                self._leads = False
                self.desk.forget()
                failures += 1
            except ChainError as error:
                failures += 1
                self.desk.trouble["chain"] = f"{type(error).__name__}: {error}"
            except StoreUnavailableError as error:
                failures += 1
                self.desk.trouble["store"] = f"the database does not answer: {error}"
            except Exception:  # the loop must outlive its own mistakes: what it had committed stays right
                failures += 1
                log.exception("a step of the outbox failed")
                self.desk.trouble["outbox"] = "a step failed; see the log"
            self._step_began = None
            await self._rest(failures)

    async def _rest(self, failures: int) -> None:
        """Sleep until there is work, the chain may have news, or a failing edge may have recovered."""
        settings = self.desk.settings
        if failures:
            most = max(BACKOFF_S_MAX, self.desk.pace.block_s)
            await asyncio.sleep(min(most, self.desk.poll_ms / 1000 * 2 ** min(failures, 8)))
            return
        await asyncio.sleep(settings.step_gap_ms / 1000)
        poll_ms = self.desk.poll_ms
        wait_ms = poll_ms if self._waits_ms is None else min(poll_ms, self._waits_ms)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_ms / 1000):
                await self._wake.wait()

    async def step(self) -> None:
        """Do one round of the loop: (1, 2) observe and settle, (3, 4) sign, send again, raise, (5) fill.

        A paused key only observes and settles.
        """
        self._wake.clear()  # also where another process leads: it finds the work by itself
        if not await self._lead():
            return
        head = await self.desk.chain.head()
        self.head_number = head.number
        await self._survey(head)
        slots, pause = await self.desk.store.look()
        self.desk.report("paused", pause and f"paused by {pause.by} ({pause.reason}): resume the key to send again")
        settled_at: bytes | None = head.hash
        if slots and (head.hash != self._settled_at or (pause is None and self._unsent(slots, head))):
            todo = await settle(self.desk, slots, head)
            if pause is None:
                await carry_out(self.desk, todo)
            slots, _ = await self.desk.store.look()
            settled_at = None if todo.moved else head.hash
        self._settled_at = settled_at
        if pause is not None:
            self._waits_ms = None
            return
        open_slots = [slot for slot in slots if slot.state is not SlotState.MINED]
        self._waits_ms = await fill(self.desk, open_slots, head)

    async def _survey(self, head: Block) -> None:
        """Learn, once in a while, what changes slowly: the chain's pace, the account's balance and whether it has code.

        Between two surveys our own clock shows how fast blocks really come.
        """
        now = self.desk.clock()
        if now < self._survey_at:
            return
        desk, address = self.desk, self.desk.gas_signer.address
        known = await desk.chain.blocks(range(max(1, head.number - SAMPLE_BLOCKS), head.number))
        timestamps = [block.timestamp for block in known if block is not None]
        since = self._surveyed or (head.number, now)
        desk.pace = measure([*timestamps, head.timestamp], head.number - since[0], now - since[1])
        desk.single = bool(await desk.chain.code(address))
        slots, _ = await desk.store.look()
        desk.meter.funds(await desk.chain.balance(address), worst_case(slots))
        self._surveyed = (head.number, now)
        self._survey_at = now + (SURVEY_S if since[0] != head.number else SURVEY_S_FIRST)

    def _unsent(self, slots: Sequence[Slot], head: Block) -> bool:
        """Whether anything must be signed or sent although the chain has no news."""
        policy, sent_at, now = self.desk.policy, self.desk.sent_at, self.desk.clock()
        for slot in slots:
            if slot.state is SlotState.RESERVED:
                return True
            if slot.state is SlotState.LIVE:
                newest = slot.attempts[-1]
                to_be_voided = slot.void_by is not None and not newest.void
                if to_be_voided or policy.resend_due(sent_at.get(newest.tx_hash), head.number, now):
                    return True
        return False

    async def _lead(self) -> bool:
        """Hold the key's lease: renewed at a third of its life, taken over only when it has run out."""
        if self._leads and self.desk.clock() < self._renew_at:
            return True
        if not await self._renew():
            self.desk.forget()
        return self._leads

    async def _renew(self) -> bool:
        settings = self.desk.settings
        steal = settings.steal_lease and not self._leads
        now = self.desk.clock()
        self._leads = await self.desk.store.acquire(settings.lease_ttl_ms, steal=steal, trouble=self.desk.trouble)
        self._renew_at = now + settings.lease_ttl_ms / 3000
        return self._leads

    async def _heartbeat(self) -> None:
        """Renew the lease while a step takes long (a slow endpoint), but not for one that hangs."""
        ttl_s = self.desk.settings.lease_ttl_ms / 1000
        while True:
            await asyncio.sleep(ttl_s / 3)
            began = self._step_began
            if self._leads and began is not None and self.desk.clock() - began < ttl_s * LONGEST_STEP_LEASES:
                with contextlib.suppress(StoreUnavailableError):
                    await self._renew()
