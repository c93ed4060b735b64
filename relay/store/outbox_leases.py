"""Who may send with a key: the lease with its epoch, and the identity of the chain this database belongs to.

The only SQL on `leases` and `chain_identities`. A lease changes hands only with a higher epoch, and every write of a
sender checks the epoch it began under, so a sender that was stopped and woken can change nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.outbox_tables import chain_identities, leases, slots

NONE: Mapping[str, str] = {}


class LeaseLostError(Exception):
    """Another sender holds this key now: stop at once, the epoch under which this write was made is over."""


class ChainMismatchError(Exception):
    """The endpoint serves another chain or contract than this database was written for."""


@dataclass(frozen=True)
class Key:
    """A sending account on a chain."""

    chain_id: int
    signer: bytes

    def of(self) -> dict[str, object]:
        """Return the parameters of statements whose rows are chosen with `is_of`."""
        return {"of_chain": self.chain_id, "of_signer": self.signer}


def is_of(chain_id: ColumnElement[int], signer: ColumnElement[bytes]) -> ColumnElement[bool]:
    """Whether these columns are those of the key that `Key.of` is given for.

    Senders ask the same few things several times a second: statements are built once, which costs more than to run one.
    """
    return and_(chain_id == bindparam("of_chain"), signer == bindparam("of_signer"))


IS_OF = is_of(leases.c.chain_id, leases.c.signer)
HELD = select(leases.c.holder, leases.c.expires_at_ms).where(IS_OF)
EPOCH = select(leases.c.epoch).where(IS_OF).with_for_update(read=True)
EPOCH_OF = select(leases.c.epoch).where(IS_OF, leases.c.holder == bindparam("holder"))


def acquire(
    c: Connection, key: Key, holder: str, now_ms: int, ttl_ms: int, *, steal: bool, trouble: Mapping[str, str] = NONE
) -> int:
    """Take or renew the lease; returns its epoch, or 0 when another holder's has not expired (and is not stolen).

    One that would last longer than a lease lasts is over too: the clock was set back since, and its holder may be dead.

    `trouble` is shown to operators, whichever process they ask. Who stands by only reads: an upsert would lock the row,
    and with it hold up the holder's writes.
    """
    row = c.execute(HELD, key.of()).one_or_none()
    lives = row is not None and now_ms <= row.expires_at_ms <= now_ms + ttl_ms
    if row is not None and row.holder != holder and lives and not steal:
        return 0
    insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    state = {
        "holder": holder,
        "expires_at_ms": now_ms + ttl_ms,
        "trouble": json.dumps(dict(trouble), sort_keys=True) if trouble else None,
    }
    c.execute(
        insert(leases)
        .values(**vars(key), **state, epoch=1)
        .on_conflict_do_update(
            index_elements=[leases.c.chain_id, leases.c.signer],
            set_={"epoch": case((leases.c.holder == holder, leases.c.epoch), else_=leases.c.epoch + 1), **state},
            where=or_(
                leases.c.holder == holder, ~leases.c.expires_at_ms.between(now_ms, now_ms + ttl_ms), literal(steal)
            ),
        )
    )
    return int(c.scalar(EPOCH_OF, {**key.of(), "holder": holder}) or 0)


def release(c: Connection, key: Key, epoch: int) -> None:
    """Let the lease expire now."""
    c.execute(update(leases).where(IS_OF, leases.c.epoch == epoch).values(expires_at_ms=0), key.of())


def fence(c: Connection, key: Key, epoch: int) -> None:
    """Raise LeaseLostError unless `epoch` still is the lease's; holds the row until the commit."""
    current = c.scalar(EPOCH, key.of())
    if epoch == 0 or current != epoch:
        raise LeaseLostError(f"epoch {epoch} is over")


def abandoned(c: Connection, chain_id: int, now_ms: int) -> list[bytes]:
    """Return the accounts with nonces under way whose lease nobody holds now: their key was taken away too early."""
    held = select(leases.c.signer).where(leases.c.chain_id == chain_id, leases.c.expires_at_ms >= now_ms)
    under_way = (slots.c.chain_id == chain_id, slots.c.state.in_(("reserved", "live", "mined")))
    query = select(slots.c.signer).where(*under_way, slots.c.signer.not_in(held)).distinct().order_by(slots.c.signer)
    return [bytes(signer) for signer in c.scalars(query)]


def known_contract(c: Connection, chain_id: int, genesis_hash: bytes) -> bytes | None:
    """Return the contract this database is of, None if it is of none yet.

    Raises:
        ChainMismatchError: it was written for another chain.
    """
    rows = {row.chain_id: row for row in c.execute(select(chain_identities))}  # one look: a relay may be binding it now
    row = rows.get(chain_id)
    if row is None:
        if rows:  # its scores were signed for that chain, and must not go to this one
            raise ChainMismatchError(
                f"the endpoint is on chain {chain_id}, but this database was written for chain {min(rows)}: "
                "point FAIRSCORE_RPC_URL back, or use a database of its own"
            )
        return None
    if bytes(row.genesis_hash) != genesis_hash:
        raise ChainMismatchError(
            f"chain {chain_id} starts with block 0x{genesis_hash.hex()}, but this database was written for "
            f"0x{bytes(row.genesis_hash).hex()}: point FAIRSCORE_RPC_URL back, or use a database of its own"
        )
    return bytes(row.contract)


def bind(c: Connection, chain_id: int, genesis_hash: bytes, contract: bytes, now_ms: int) -> None:
    """Remember chain and contract, or raise ChainMismatchError when they are not the ones remembered."""
    known = known_contract(c, chain_id, genesis_hash)
    if known is None:
        values = {"chain_id": chain_id, "genesis_hash": genesis_hash, "contract": contract, "recorded_at_ms": now_ms}
        insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
        c.execute(insert(chain_identities).values(values).on_conflict_do_nothing())
        known = known_contract(c, chain_id, genesis_hash)  # a relay started at the same moment may have been first
    if known in {None, contract}:
        return
    under_way = (slots.c.chain_id == chain_id, slots.c.state.in_(("reserved", "live", "mined")))
    if c.scalar(select(func.count()).select_from(slots).where(*under_way)):
        raise ChainMismatchError(
            f"the contract changed to 0x{contract.hex()} while transactions to 0x{known.hex()} are under "
            "way: set FAIRSCORE_CONTRACT back until they are final"
        )
    held = (leases.c.chain_id == chain_id, leases.c.expires_at_ms >= now_ms)
    if c.scalar(select(func.count()).select_from(leases).where(*held)):  # it would go on sending to the other
        raise ChainMismatchError(
            f"the contract changed to 0x{contract.hex()} while a relay runs that sends to 0x{known.hex()}: set "
            "FAIRSCORE_CONTRACT back, or stop all relays of this database and start again some seconds later"
        )
    c.execute(update(chain_identities).where(chain_identities.c.chain_id == chain_id).values(contract=contract))
