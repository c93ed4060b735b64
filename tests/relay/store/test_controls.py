"""What operators decide is stored with its record, holds for every process, and is refused where it makes no sense."""

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from sqlalchemy import Connection, func, select

from relay.errors import CallerError
from relay.store import controls, migrate, outbox_view
from relay.store.control_tables import operator_actions
from relay.store.controls import By
from relay.store.engine import Database, open_database
from relay.store.outbox_leases import Key
from relay.store.outbox_tables import attempts, batch_scores, batches, leases, slots
from relay.store.tables import history, submissions

T = TypeVar("T")

KEY = Key(31337, b"\x0a" * 20)
OTHER = Key(31337, b"\x0b" * 20)
BY = By("key_1", "gas is dear", 5_000)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database in which KEY has sent and OTHER never did."""
    opened = open_database(database_url)
    migrate.upgrade(opened, "relay")
    with opened.write() as c:
        c.execute(leases.insert().values(**vars(KEY), holder="a:1", epoch=3, expires_at_ms=10_000))
    yield opened
    opened.close()


def does(database: Database, job: Callable[[Connection], T]) -> T:
    """Run in a transaction."""
    with database.write() as c:
        return job(c)


def slot(c: Connection, nonce: int, state: str, size: int = 1) -> int:
    """A nonce in a state, with a batch of scores and, unless it is reserved, two attempts; returns the batch's id."""
    row = {"game_id": "g", "rules_hash": b"r" * 32, "size": size, "calldata": b"", "state": "open", "created_at_ms": 1}
    batch_id = int(c.execute(batches.insert().values(row).returning(batches.c.id)).scalar_one())
    c.execute(
        slots.insert().values(**vars(KEY), nonce=nonce, batch_id=batch_id, state=state, epoch=3, reserved_at_ms=1_000)
    )
    for number in range(0 if state == "reserved" else 2):
        tx_hash = bytes((nonce, number)) * 16
        fees = {"gas_limit": 100, "fee_wei_max": 10 * (number + 1), "tip_wei_max": 1}
        made = {"created_at_ms": 2_000 + number, "created_at_block": 7, "raw": b"raw"}
        c.execute(attempts.insert().values(**vars(KEY), tx_hash=tx_hash, nonce=nonce, **fees, **made))
    return batch_id


def submission(c: Connection, number: int, status: str, game: str = "g") -> str:
    """An accepted submission in some status."""
    found = f"sub_{game}{number:03d}"
    row = {
        "id": found, "game_id": game, "player": b"p" * 20, "status": status, "score": 1, "round_id": number,
        "evidence_hash": bytes(32), "evidence_level": 1, "rules_hash": bytes(32), "claim_hash": bytes(32),
        "received_at_ms": 1, "accepted_at_ms": 100 + number, "receipt_deadline": 1, "receipt_signer": bytes(20),
        "receipt_signature": bytes(65), "request_id": "r", "tx_hash": b"t" * 32,
    }  # fmt: skip
    c.execute(submissions.insert().values(row))
    c.execute(history.insert().values(submission_id=found, status=status, at_ms=300, detail="WrongGame"))
    return found


def recorded(database: Database) -> list[tuple[str, str, str, str]]:
    """The record of actions, oldest first."""
    found = database.read_now(lambda c: controls.actions(c, 50))
    return [(one.actor, one.action, one.subject, one.reason) for one in reversed(found)]


def test_pause_and_resume(database: Database) -> None:
    """A second pause keeps the first one's reason; what changes nothing is not recorded."""
    first = does(database, lambda c: controls.pause(c, KEY, BY))
    again = does(database, lambda c: controls.pause(c, KEY, By("key_2", "me too", 6_000)))
    assert first == again == controls.Pause(5_000, "key_1", "gas is dear")
    assert database.read_now(lambda c: controls.paused(c, KEY)) == first
    assert does(database, lambda c: controls.resume(c, KEY, By("cli:ann", "cheap again", 7_000)))
    assert not does(database, lambda c: controls.resume(c, KEY, By("cli:ann", "twice", 8_000)))
    assert database.read_now(lambda c: controls.paused(c, KEY)) is None
    address = "0x0A0a0A0a0A0A0A0A0a0a0a0a0a0A0A0A0a0A0A0a"
    assert [one[:2] for one in recorded(database)] == [("key_1", "pause"), ("cli:ann", "resume")]
    assert {one[2].lower() for one in recorded(database)} == {address.lower()}


def test_two_operators_pause_at_the_same_moment(postgres_url: str) -> None:
    """One of them pauses, the other finds it paused; neither fails."""
    opened = open_database(postgres_url)
    migrate.upgrade(opened, "relay")
    does(opened, lambda c: c.execute(leases.insert().values(**vars(KEY), holder="a", epoch=1, expires_at_ms=1)))
    both_in = threading.Barrier(2)
    found: list[controls.Pause] = []

    def operator(name: str) -> None:
        with opened.write() as c:
            c.execute(select(1))
            both_in.wait(60)
            found.append(controls.pause(c, KEY, By(name, "why", 1)))

    threads = [threading.Thread(target=operator, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 2
    assert found[0] == found[1]
    assert len(recorded(opened)) == 1
    opened.close()


@pytest.mark.parametrize("state", ["reserved", "live"])
def test_a_void_is_asked_for_once(database: Database, state: str) -> None:
    """Asking again answers since when it is asked."""
    does(database, lambda c: slot(c, 4, state))
    assert does(database, lambda c: controls.request_void(c, KEY, 4, BY)) == 5_000
    assert does(database, lambda c: controls.request_void(c, KEY, 4, BY._replace(at_ms=9_000))) == 5_000
    row = database.read_now(lambda c: c.execute(select(slots.c.void_requested_at_ms, slots.c.void_by)).one())
    assert tuple(row) == (5_000, "key_1")
    assert [(one[1], one[2][-2:]) for one in recorded(database)] == [("void", "/4")]


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (lambda c: controls.pause(c, OTHER, BY), "SENDER_UNKNOWN"),
        (lambda c: controls.resume(c, OTHER, BY), "SENDER_UNKNOWN"),
        (lambda c: controls.request_void(c, OTHER, 1, BY), "SENDER_UNKNOWN"),
        (lambda c: controls.request_void(c, KEY, 1, BY), "NONCE_UNKNOWN"),
        (lambda c: controls.request_void(c, KEY, 5, BY), "NONCE_NOT_VOIDABLE"),
        (lambda c: controls.request_void(c, KEY, 6, BY), "NONCE_NOT_VOIDABLE"),
        (lambda c: controls.retry(c, "sub_none", BY), "SUBMISSION_UNKNOWN"),
        (lambda c: controls.retry(c, "sub_g001", BY), "SUBMISSION_NOT_PARKED"),
    ],
)
def test_a_refusal_changes_and_records_nothing(
    database: Database, job: Callable[[Connection], object], code: str
) -> None:
    """Unknown keys, nonces and submissions, and what is beyond a change."""

    def prepare(c: Connection) -> None:
        slot(c, 5, "mined")
        slot(c, 6, "final")
        submission(c, 1, "final")

    does(database, prepare)
    with pytest.raises(CallerError) as refused:
        does(database, job)
    assert refused.value.code == code
    assert recorded(database) == []
    assert database.read_now(lambda c: c.scalar(select(func.count()).select_from(operator_actions))) == 0


def test_a_parked_score_waits_again(database: Database) -> None:
    """With its history, in the same commit."""
    found = does(database, lambda c: submission(c, 1, "parked"))
    does(database, lambda c: controls.retry(c, found, BY))
    row = database.read_now(lambda c: c.execute(select(submissions.c.status, submissions.c.tx_hash)).one())
    assert tuple(row) == ("accepted", None)
    steps = select(history.c.status, history.c.detail).order_by(history.c.seq)
    assert [tuple(step) for step in database.read_now(lambda c: c.execute(steps).all())][1:] == [
        ("accepted", "retried: gas is dear")
    ]
    assert recorded(database) == [("key_1", "retry", found, "gas is dear")]


def test_the_view_of_a_key(database: Database) -> None:
    """Nonces with their attempts, oldest first; what a mined one can cost is nothing."""

    def prepare(c: Connection) -> None:
        for nonce, state in ((1, "final"), (2, "mined"), (3, "live"), (4, "reserved")):
            slot(c, nonce, state, size=nonce)
        controls.pause(c, KEY, BY)
        controls.request_void(c, KEY, 3, BY)

    does(database, prepare)
    (key,) = database.read_now(lambda c: outbox_view.keys(c, 31337, 9_999))
    assert (key.key, key.holder, key.epoch, key.led, key.next_nonce) == (KEY, "a:1", 3, True, 5)
    assert key.pause == controls.Pause(5_000, "key_1", "gas is dear")
    assert [(one.nonce, one.state, one.size, len(one.attempts)) for one in key.slots] == [
        (2, "mined", 2, 2), (3, "live", 3, 2), (4, "reserved", 4, 0),
    ]  # fmt: skip
    assert [one.fee_wei_max for one in key.slots[1].attempts] == [10, 20]
    assert key.slots[1].void_requested_at_ms == 5_000
    assert key.reserved_wei == 20 * 100
    assert not database.read_now(lambda c: outbox_view.keys(c, 31337, 10_000))[0].led
    assert database.read_now(lambda c: outbox_view.keys(c, 1, 0)) == []


def test_depth_and_oldest_by_state(database: Database) -> None:
    """Across games; ends are not counted."""

    def prepare(c: Connection) -> None:
        for number, (status, game) in enumerate(
            [("accepted", "b"), ("accepted", "a"), ("accepted", "a"), ("parked", "a"), ("held", "a"), ("final", "a")], 1
        ):
            submission(c, number, status, game)
        batch_id = slot(c, 1, "live", size=2)
        for position, status in enumerate(("sent", "sent")):
            found = submission(c, 10 + position, status)
            c.execute(batch_scores.insert().values(batch_id=batch_id, position=position, submission_id=found))

    does(database, prepare)
    depth = database.read_now(outbox_view.depth)
    assert depth == {
        "accepted": (3, 101), "queued": (0, None), "sent": (2, 110), "included": (0, None), "held": (1, 105),
        "parked": (1, 104),
    }  # fmt: skip
    assert database.read_now(outbox_view.parked) == [("sub_a004", "a", "WrongGame", 300)]
