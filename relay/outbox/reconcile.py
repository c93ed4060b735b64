"""Where the next nonce is, and what to do when the chain has seen nonces of a key that this database never gave.

Touches the chain and the store through the desk. Another program uses the key, or the database was restored from a
backup and it was ourselves: what is lost then may be on the chain. So before such a nonce is written down as foreign,
everything that waits is looked up in final logs; nothing is sent while that is open.
"""

import logging

from relay.chain_types import Block
from relay.keccak import checksum_address
from relay.outbox.desk import Desk

log = logging.getLogger(__name__)

STANDS_STILL_S, STANDS_STILL_BLOCKS = 10.0, 3
EVERYTHING = 1 << 20  # batches: all that waits


async def next_nonces(desk: Desk, head: Block) -> tuple[int, int] | None:
    """Where a key without history begins, and below what nonces are foreign; None: wait until that is final.

    A sender that has just begun looks at every key this database ever sent with, for all of them share what waits.
    """
    own = desk.gas_signer.address
    keys = {own} if desk.reconciled else {own, *await desk.store.next_nonces()}
    used = {key: await desk.chain.nonce(key) for key in keys}
    # Read after the chain, because a healthy sender reserves before it sends.
    reserved = {own: await desk.store.next_nonce()} if desk.reconciled else await desk.store.next_nonces()
    ahead = [key for key in keys if (ours := reserved.get(key)) is not None and used[key] > ours]
    if ahead:
        finalized = await desk.chain.finalized(desk.settings.confirmations, head)
        for key in ahead:
            if await desk.chain.nonce(key, finalized) < used[key]:
                desk.report("nonce", _waiting(key, reserved[key], used[key]))
                return None
            if not await _confirmed(desk, key, used[key], finalized):
                return None
            log.error("nonces of a gas key were used elsewhere", extra={"key": checksum_address(key)})
        if not await sweep(desk, head, finalized):
            return None
        desk.meter.foreign()
    desk.report("nonce", None)
    desk.reconciled = True
    return (used[own], used[own]) if reserved.get(own) is not None else await _first_nonce(desk, own, head)


async def _first_nonce(desk: Desk, own: bytes, head: Block) -> tuple[int, int] | None:
    """Where a key begins: too high a number would never be mined, so neither one answer nor one block is taken for it.

    The finality point must agree. Where blocks come only with transactions it never moves by itself: there a head that
    stood still for a while is as final as it gets.
    """
    used = await desk.chain.nonce(own)
    finalized = await desk.chain.finalized(desk.settings.confirmations, head)
    if await desk.chain.nonce(own, finalized) == used:
        desk.first_look = None
        return (used, 0) if await _confirmed(desk, own, used, finalized) else None
    now, look = desk.clock(), (used, head.hash)
    if desk.first_look is None or desk.first_look[0] != look:
        desk.first_look = (look, now)
    elif now - desk.first_look[1] >= max(STANDS_STILL_S, STANDS_STILL_BLOCKS * desk.pace.block_s):
        return (used, 0) if await _confirmed(desk, own, used, head.number) else None
    own_name = checksum_address(own)
    desk.report("nonce", f"the gas key {own_name} was used a moment ago: sending begins when that is final")
    return None


async def _confirmed(desk: Desk, key: bytes, used: int, block: int) -> bool:
    """Whether a second provider, if there is one, agrees that all nonces below `used` are: what is skipped is gone."""
    if used == 0 or await desk.chain.confirm_absent(key, (), used - 1, block):
        return True
    desk.report(
        "nonce", f"one provider says that {checksum_address(key)} used {used} nonces, and no second one confirms it"
    )
    return False


def _waiting(key: bytes, ours: int | None, used: int) -> str:
    return (
        f"another program uses the gas key {checksum_address(key)} (or this database is older than the chain): nonces "
        f"from {ours} to {used - 1} are not ours; sending goes on when they are final"
    )


async def sweep(desk: Desk, head: Block, finalized: int) -> bool:
    """Look everything that waits up in final logs, and take over what is there; False: things moved, look again."""
    for cargo in desk.cargoes.values():
        due = await desk.due(cargo, head, EVERYTHING, 0)
        for plan in due.plans:
            if not await desk.note(await cargo.done_elsewhere(plan, finalized)):
                return False
    return True
