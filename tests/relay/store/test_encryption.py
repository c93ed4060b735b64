"""Payload keys: the current one, rotation with overlap, retirement, and IVs that count once in every process."""

import threading
from collections.abc import Iterator

import pytest

from relay.store import encryption, migrate
from relay.store.encryption import UsedIv
from relay.store.engine import Database, open_database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the relay's tables."""
    opened = open_database(database_url)
    migrate.upgrade(opened, "relay")
    yield opened
    opened.close()


def iv(number: int) -> bytes:
    return number.to_bytes(12, "big")


def test_the_first_round_makes_the_key_that_the_next_ones_get(database: Database) -> None:
    with database.write() as c:
        first = encryption.current(c, "first", 1_000)
        assert encryption.current(c, "first", 2_000) == first
        assert encryption.current(c, "another", 2_000).secret != first.secret
        assert encryption.secret(c, "first", first.id) == first.secret
        assert encryption.secret(c, "another", first.id) is None  # a key belongs to one game
    assert len(first.secret) == 32
    assert first.secret.hex() not in repr(first)
    assert repr(first.secret) not in repr(first)


def test_a_rotation_overlaps_until_the_old_key_is_retired(database: Database) -> None:
    with database.write() as c:
        old = encryption.current(c, "rotated", 1_000)
        made = encryption.create(c, "rotated", "key_1", 2_000)
        new = encryption.current(c, "rotated", 3_000)
        assert (new.id, new.secret == old.secret) == (made.id, False)
        assert encryption.secret(c, "rotated", old.id) == old.secret
        assert encryption.claim_ivs(c, [UsedIv(old.id, iv(1), b"a" * 32)], 3_000) == [True]
        gone = encryption.retire(c, "rotated", old.id, "key_2", 4_000)
        assert encryption.secret(c, "rotated", old.id) is None
        assert encryption.retire(c, "rotated", old.id, "key_3", 5_000) == gone  # once is enough
        assert encryption.retire(c, "rotated", "ek_unknown", "key_3", 5_000) is None
        assert encryption.retire(c, "other", new.id, "key_3", 5_000) is None  # not that game's
        shown = encryption.listed(c, "rotated")
    assert gone is not None
    assert [(info.id, info.created_by, info.retired_by) for info in shown] == [
        (new.id, "key_1", None),
        (old.id, "round", "key_2"),
    ]
    assert not any(isinstance(value, bytes) for info in shown for value in info)


def test_an_iv_counts_once_and_the_same_report_again_is_a_retry(database: Database) -> None:
    with database.write() as c:
        key = encryption.current(c, "ivs", 1_000).id
        other = encryption.current(c, "others", 1_000).id
        one, same, reused = UsedIv(key, iv(1), b"a" * 32), UsedIv(key, iv(1), b"a" * 32), UsedIv(key, iv(1), b"b" * 32)
        assert encryption.claim_ivs(c, [], 1_000) == []
        assert encryption.claim_ivs(c, [one, UsedIv(key, iv(2), b"b" * 32)], 1_000) == [True, True]
    with database.write() as c:
        assert encryption.claim_ivs(c, [reused, same], 2_000) == [False, True]
        assert encryption.claim_ivs(c, [UsedIv(other, iv(1), b"b" * 32)], 2_000) == [True]  # another key
        twice = encryption.claim_ivs(c, [UsedIv(key, iv(9), b"x" * 32), UsedIv(key, iv(9), b"y" * 32)], 2_000)
        assert sorted(twice) == [False, True]  # in one group, too


def test_an_iv_claimed_twice_at_once_is_granted_to_one(database: Database) -> None:
    with database.write() as c:
        key = encryption.current(c, "raced", 1_000).id
    granted: list[tuple[int, bytes]] = []
    start = threading.Barrier(8)

    def claim(number: int) -> None:
        wanted = [UsedIv(key, iv(one), bytes([number]) * 32) for one in range(20)]
        start.wait()
        with database.write() as c:
            answers = encryption.claim_ivs(c, wanted if number % 2 else wanted[::-1], 1_000)
        granted.extend((number, one.iv) for one, ok in zip(wanted, answers, strict=True) if ok)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for _, one in granted}) == 20
