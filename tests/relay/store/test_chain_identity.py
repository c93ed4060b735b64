"""A database belongs to one chain: what was signed for it is never sent to another."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

from relay.store import migrate
from relay.store.engine import Database, open_database
from relay.store.outbox_leases import ChainMismatchError, Key, acquire, bind, known_contract

CONTRACT = b"\xcc" * 20


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database of chain 31337."""
    opened = open_database(database_url)
    migrate.upgrade(opened, "relay")
    with opened.write() as c:
        assert known_contract(c, 31337, b"\x01" * 32) is None
        bind(c, 31337, b"\x01" * 32, CONTRACT, 1)
    yield opened
    opened.close()


def test_the_same_chain_is_known(database: Database) -> None:
    """With its contract."""
    assert database.read_now(lambda c: known_contract(c, 31337, b"\x01" * 32)) == CONTRACT


@pytest.mark.parametrize(
    ("chain_id", "genesis", "words"),
    [
        (5, b"\x01" * 32, "is on chain 5, but this database was written for chain 31337"),
        (31337, b"\x02" * 32, "0x0202"),
    ],
)
def test_another_chain_is_refused(database: Database, chain_id: int, genesis: bytes, words: str) -> None:
    """Another id, or the same id with another first block: nothing is stored, and the text says what to do."""
    with pytest.raises(ChainMismatchError, match=words) as refused, database.write() as c:
        bind(c, chain_id, genesis, CONTRACT, 1)
    assert "FAIRSCORE_RPC_URL" in str(refused.value)
    with pytest.raises(ChainMismatchError, match=words):
        database.read_now(lambda c: known_contract(c, chain_id, genesis))
    assert database.read_now(lambda c: known_contract(c, 31337, b"\x01" * 32)) == CONTRACT


def test_another_contract_waits_until_nobody_sends_to_the_old_one(database: Database) -> None:
    """Two relays whose settings differ would share one backlog between two contracts."""
    other = b"\xdd" * 20
    with database.write() as c:
        assert acquire(c, Key(31337, b"\x07" * 20), "a relay", 1_000, 10_000, steal=False)
    with pytest.raises(ChainMismatchError, match="while a relay runs") as refused, database.write() as c:
        bind(c, 31337, b"\x01" * 32, other, 11_000)
    assert "FAIRSCORE_CONTRACT" in str(refused.value)
    with database.write() as c:
        bind(c, 31337, b"\x01" * 32, other, 11_001)
    assert database.read_now(lambda c: known_contract(c, 31337, b"\x01" * 32)) == other


def test_relays_that_start_together_agree(postgres_url: str) -> None:
    """Both see a database of no chain; whoever writes second finds the first one's word instead of a collision."""
    opened = open_database(postgres_url)
    migrate.upgrade(opened, "relay")
    with ThreadPoolExecutor(1) as beside:

        def second() -> bytes | None:
            with opened.write() as c:
                bind(c, 31337, b"\x01" * 32, CONTRACT, 1)
                return known_contract(c, 31337, b"\x01" * 32)

        with opened.write() as first:
            bind(first, 31337, b"\x01" * 32, CONTRACT, 1)
            waiting = beside.submit(second)
            time.sleep(0.3)
            assert not waiting.done()  # its insert waits for ours
        assert waiting.result(60) == CONTRACT
    opened.close()


def test_a_relay_that_binds_meanwhile_is_no_other_chain(postgres_url: str) -> None:
    """Two relays start on an empty database: the first commits while the second looks."""
    first, second = open_database(postgres_url), open_database(postgres_url)
    migrate.upgrade(first, "relay")
    looks: list[str] = []

    def meanwhile(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM chain_identities" in statement:
            looks.append(statement)
            if len(looks) == 1:
                with first.write() as c:
                    bind(c, 31337, b"\x01" * 32, CONTRACT, 1)

    event.listen(second.engine, "after_cursor_execute", meanwhile)
    with second.write() as c:
        assert known_contract(c, 31337, b"\x01" * 32) in {None, CONTRACT}
        bind(c, 31337, b"\x01" * 32, CONTRACT, 2)
    assert len(looks) > 1
    first.close()
    second.close()
