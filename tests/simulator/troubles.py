"""How each kind of trouble begins, and what ends it.

Touches the life it is given: its world, disk, processes and their provider's mood.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Connection

from relay.attestation import Domain, score_batch_digest
from relay.contract import encode_submit_scores, pack_record
from relay.errors import CallerError
from relay.keccak import keccak
from relay.revocation import Action
from relay.signer import LocalSigner
from relay.store import controls, revocations
from relay.store.outbox_leases import Key
from tests.simulator.endpoint import Mood
from tests.simulator.oracle import Oracle
from tests.simulator.process import Process, Signer
from tests.simulator.script import Script, Trouble
from tests.simulator.storage import Disk
from tests.simulator.virtual_time import EPOCH_S
from tests.simulator.world import GWEI, Tx, World

PLAYER = b"\x99" * 20


class Stage(Protocol):
    """What trouble needs of a life."""

    script: Script
    calm: bool
    chance: random.Random
    world: World
    disk: Disk
    moods: list[Mood]
    liar: Mood
    oracle: Oracle
    processes: list[Process]
    keys: list[Signer]
    domain: Domain
    attester: LocalSigner

    def now(self) -> float:
        """Virtual time (s)."""

    def log(self, who: str, what: str) -> None:
        """Remember an event."""

    def later(self, blocks: float, what: Callable[[], None]) -> None:
        """Do something some block times from now."""

    def hold(self, task: "asyncio.Future[None]") -> None:
        """Keep a task from being forgotten."""

    def keep_running(self) -> None:
        """Replace dead processes."""


def begin(life: Stage, trouble: Trouble) -> None:
    """Let trouble begin; its end is put on the agenda."""
    if life.calm:
        return
    life.log("trouble", f"{trouble.kind} {trouble.values}")
    name, _, detail = trouble.kind.partition(":")
    if name in ("lie", "send"):
        _lie(life, name, detail, trouble)
    else:
        KINDS[name](life, trouble, *trouble.values)


def _lie(life: Stage, name: str, detail: str, trouble: Trouble) -> None:
    odds = life.liar.lies if name == "lie" else life.liar.sends
    odds[detail] = float(trouble.values[0])  # type: ignore[arg-type]
    life.later(trouble.blocks, lambda: _forget(odds, detail))


def _forget(odds: dict[str, float], detail: str) -> None:
    odds.pop(detail, None)


def _for_a_while(attribute: str, of: str, value: object, normal: object) -> Callable[..., None]:
    """Set something of the life's part (of a provider: of any), and set it back."""

    def start(life: Stage, trouble: Trouble, *values: Any) -> None:
        part = life.chance.choice(life.moods) if of == "mood" else getattr(life, of)
        setattr(part, attribute, values[0] if values else value)
        life.later(trouble.blocks, lambda: setattr(part, attribute, normal))

    return start


def _reorg(life: Stage, _: Trouble, depth: int, back: tuple[bool, ...], longer: int) -> None:
    done = life.world.reorg(depth, EPOCH_S + life.now(), back, longer)
    life.log("world", f"reorg of {done}")


def _blind(life: Stage, trouble: Trouble, depth: int, back: tuple[bool, ...], longer: int) -> None:
    before = life.world.chain
    if life.world.reorg(depth, EPOCH_S + life.now(), back, longer):
        mood = life.chance.choice(life.moods)
        mood.fork = before
        life.later(trouble.blocks, lambda: setattr(mood, "fork", None))


def _drop(life: Stage, _: Trouble, share: float) -> None:
    for pool in life.world.pools.values():
        for nonce in list(pool):
            if life.chance.random() < share:
                del pool[nonce]


def _spike(life: Stage, trouble: Trouble, times: int) -> None:
    life.world.base_fee = GWEI * times
    life.world.tip = GWEI * min(times, 5)

    def ease() -> None:
        life.world.base_fee = life.world.tip = GWEI

    life.later(trouble.blocks, ease)


def _crash(life: Stage, _: Trouble, effects: int) -> None:
    life.chance.choice(life.processes).doomed = effects


def _freeze(life: Stage, trouble: Trouble) -> None:
    process = life.chance.choice(life.processes)
    process.frozen_until = life.now() + trouble.blocks * 3 * life.script.block_s


def _restart(life: Stage, _: Trouble) -> None:
    process = life.processes[0]

    async def stop() -> None:
        await process.stop()
        life.keep_running()

    life.hold(asyncio.ensure_future(stop()))


def _lost_commit(life: Stage, _: Trouble, count: int) -> None:
    life.disk.blind += count


def _foreign(life: Stage, _: Trouble) -> None:
    """Somebody uses the gas key by hand."""
    sender = life.chance.choice(life.keys).address
    nonce = life.world.next_nonce(sender)
    made = keccak(b"foreign" + sender + nonce.to_bytes(8, "big"))
    tx = Tx(made, sender, nonce, 10**13, 10**13, 21_000, PLAYER, 1, b"", life.domain.chain_id)
    life.world.pools.setdefault(sender, {})[nonce] = tx
    life.world.ever[made] = tx


def _void(life: Stage, _: Trouble) -> None:
    """An operator asks for a nonce to be used up by nothing."""
    open_ones = life.disk.rows("SELECT signer, nonce FROM slots WHERE state IN ('reserved', 'live', 'mined')")
    if open_ones:
        signer, nonce = life.chance.choice(open_ones)
        _operate(life, lambda c, by: controls.request_void(c, Key(life.domain.chain_id, signer), nonce, by))


def _pause(life: Stage, trouble: Trouble) -> None:
    signer = life.chance.choice(life.keys).address
    _operate(life, lambda c, by: controls.pause(c, Key(life.domain.chain_id, signer), by))
    life.later(trouble.blocks, lambda: resume(life, signer))


def resume(life: Stage, signer: bytes) -> None:
    """Let a key send again."""
    _operate(life, lambda c, by: controls.resume(c, Key(life.domain.chain_id, signer), by))


def _ask(life: Stage, _: Trouble, reinstate: bool) -> None:
    """An auditor takes a score back, or puts one back."""
    wanted = [name for name, status in life.oracle.status.items() if (status == "revoked") is reinstate]
    if wanted:
        action = Action.REINSTATE if reinstate else Action.REVOKE
        request = revocations.Request(life.chance.choice(wanted), action, "simulated", "auditor")
        _operate(life, lambda c, by: revocations.ask(c, request, by.at_ms))
        life.oracle.operated()


def _operate(life: Stage, job: Callable[[Connection, controls.By], object]) -> None:
    by = controls.By("operator", "simulated", int((EPOCH_S + life.now()) * 1000))
    with contextlib.suppress(CallerError), life.disk.engine.connect() as connection, connection.begin():
        job(connection, by)


def _restore(life: Stage, trouble: Trouble) -> None:
    """The disk dies, and a backup of some blocks ago takes its place."""
    backup = life.disk.save()

    def come_back() -> None:
        if life.calm:
            return
        life.log("trouble", "the disk is lost")
        for process in life.processes:
            process.kill()
        life.disk.restore(backup)
        life.oracle.restored()
        life.keep_running()

    life.later(trouble.blocks, come_back)


def _failing(life: Stage, _: Trouble, count: int) -> None:
    life.world.failing += count


def _carry(life: Stage, _: Trouble, count: int) -> None:
    """A player takes receipts to the contract."""
    found = [score for name, score in life.oracle.scores.items() if life.oracle.status[name] != "final"][:count]
    chosen = [score for score in found if (score.game, score.rules_hash) == (found[0].game, found[0].rules_hash)]
    chosen = [score for score in chosen if score.record.round_id not in life.world.poison]
    if not chosen:
        return
    game, rules = chosen[0].game, chosen[0].rules_hash
    records = b"".join(pack_record(score.record) for score in chosen)
    signature = life.attester.sign(score_batch_digest(life.domain, game, rules, 2**40, records))
    data = encode_submit_scores(game, rules, 2**40, records, signature)
    pool = life.world.pools.setdefault(PLAYER, {})
    nonce = max([life.world.next_nonce(PLAYER), *(one + 1 for one in pool)])
    made = keccak(data + nonce.to_bytes(8, "big"))
    pool[nonce] = Tx(made, PLAYER, nonce, 10**13, 10**13, 10**6, life.domain.contract, 0, data, life.domain.chain_id)


KINDS: dict[str, Callable[..., None]] = {
    "reorg": _reorg,
    "blind": _blind,
    "drop": _drop,
    "spike": _spike,
    "down": _for_a_while("down", "mood", True, False),
    "flaky": _for_a_while("flaky", "mood", 0.5, 0.0),
    "lag": _for_a_while("lag", "mood", 1, 0),
    "slow": _for_a_while("slow_s", "mood", 1.0, 0.0),
    "crash": _crash,
    "freeze": _freeze,
    "restart": _restart,
    "full": _for_a_while("full", "disk", True, False),
    "lost commit": _lost_commit,
    "poor": _for_a_while("poor", "world", True, False),
    "foreign": _foreign,
    "failing": _failing,
    "paused": _for_a_while("paused", "world", True, False),
    "carry": _carry,
    "restore": _restore,
    "void": _void,
    "revoke": _ask,
    "pause": _pause,
}
