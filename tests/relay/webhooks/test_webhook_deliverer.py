"""Deliveries with a real database and a real receiver: order, retries, outages, receivers that misbehave."""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from relay.store import webhooks as store
from relay.webhooks import deliverer as module
from relay.webhooks.hooks import hooks_of
from relay.webhooks.retries import GIVE_UP_MS, OUTAGE
from tests.harness.histories import tell, tell_many
from tests.harness.receiver import Message, new_secret, receiving
from tests.relay.webhooks.conftest import Benched

STORY = ("accepted", "queued", "sent", "included", "final")
OK, BAD = 200, 500


def answered(status: int, **headers: str) -> web.Response:
    """A short answer."""
    return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_every_change_comes_signed_once_and_in_order(database_url: str, bench: Benched) -> None:
    async def scenario() -> None:
        async with bench(database_url) as b, receiving() as receiver:
            before = tell(b.database, "sub_old", "accepted")
            async with b.delivering(b.hook(receiver.url)) as deliverer:
                await b.leading(deliverer)
                told = tell_many(b.database, 40, STORY)
                await receiver.wait(lambda: len(receiver.taken) >= len(told))
                for message in receiver.messages:
                    Webhook(b.secret).verify(message.body, message.headers)
            assert sorted(receiver.sequences()) == told
            assert before[0] not in receiver.sequences()  # a new hook hears what happens from now on
            assert all(story == sorted(story) and len(story) == 5 for story in receiver.stories().values())
            assert len({message.id for message in receiver.messages}) == len(receiver.messages) == len(told)
            assert receiver.overlaps == 0
            standing = b.standing()
            assert (standing.position, standing.delivered, standing.expires_at_ms) == (told[-1], 200, 0)

    asyncio.run(scenario())


def test_a_failing_submission_holds_back_only_itself(database_url: str, bench: Benched) -> None:
    """One submission's first event is refused twice; all others arrive meanwhile, its own later ones after it."""
    failures = Counter[str]()

    def respond(message: Message) -> web.Response:
        if message.data["submissionId"] == "sub_000003" and message.type == "submission.accepted":
            failures["accepted"] += 1
            return answered(BAD if failures["accepted"] <= 2 else OK)
        return answered(OK)

    async def scenario() -> None:
        async with bench(database_url) as b, receiving(respond) as receiver:
            async with b.delivering(b.hook(receiver.url)) as deliverer:
                await b.leading(deliverer)
                told = tell_many(b.database, 10, STORY)
                await receiver.wait(lambda: len(receiver.taken) == len(told) - 5)
                late = tell(b.database, "sub_000003", "revoked")
                await asyncio.sleep(0.5)
                assert "sub_000003" not in receiver.stories()
                await receiver.wait(lambda: b.standing().waiting == 6)
                assert b.standing().position == late[0]
                b.clock.ahead_s += 10
                await receiver.wait(lambda: failures["accepted"] == 2)
                b.clock.ahead_s += 600
                await receiver.wait(lambda: len(receiver.stories().get("sub_000003", [])) == 6)
            story = receiver.stories()["sub_000003"]
            assert story == sorted(story)
            assert sorted(receiver.sequences()) == told + late
            assert (b.standing().waiting, b.standing().dead, receiver.overlaps) == (0, 0, 0)
            # The same message at every attempt: a receiver can tell repeats by its id.
            tries = [m for m in receiver.messages if m.data["sequence"] == story[0]]
            assert len(tries) == 3
            assert len({(m.id, m.body) for m in tries}) == 1

    asyncio.run(scenario())


def test_an_event_that_is_never_taken_is_given_up_and_can_be_replayed(database_url: str, bench: Benched) -> None:
    refuse = {"now": True}

    def respond(message: Message) -> web.Response:
        bad = refuse["now"] and message.data["submissionId"] == "sub_a" and message.type == "submission.sent"
        return answered(BAD if bad else OK)

    async def scenario() -> None:
        async with (
            bench(database_url) as b,
            receiving(respond) as receiver,
            b.delivering(b.hook(receiver.url)) as deliverer,
        ):
            await b.leading(deliverer)
            told = tell(b.database, "sub_a", "accepted", "sent", "included")
            await receiver.wait(lambda: b.standing().waiting == 2)
            b.clock.ahead_s += GIVE_UP_MS / 1000 + 1
            await receiver.wait(lambda: (b.standing().waiting, b.standing().dead) == (0, 1))
            assert receiver.sequences() == [told[0], told[2]]
            (dead,) = b.database.read_now(lambda c: store.dead(c, "board", 10))
            assert (dead.seq, dead.error, dead.attempts) == (told[1], "answered 500", 2)
            refuse["now"] = False
            with b.database.write() as c:
                assert store.replay_dead(c, "board", b.database.now_ms(c)) == 1
            await receiver.wait(lambda: told[1] in receiver.sequences())
            await receiver.wait(lambda: (b.standing().waiting, b.standing().dead) == (0, 0))

    asyncio.run(scenario())


def test_a_receiver_that_is_out_is_left_alone_and_then_hears_everything(sqlite_url: str, bench: Benched) -> None:
    """In an outage attempts become rare, nothing piles up in the database, and one success brings all of it at once."""
    out = {"now": True}

    async def scenario() -> None:
        async with bench(sqlite_url) as b, receiving(lambda _: answered(BAD if out["now"] else OK)) as receiver:
            async with b.delivering(b.hook(receiver.url)) as deliverer:
                await b.leading(deliverer)
                b.clock.stand_still()  # the next probe is not due however long the machine takes
                told = tell_many(b.database, 300, STORY)
                await receiver.wait(lambda: deliverer.tally.failed >= OUTAGE)
                await asyncio.sleep(1)
                assert OUTAGE <= len(receiver.messages) <= OUTAGE + module.CONCURRENCY
                b.clock.go_on()
                await receiver.wait(lambda: deliverer.numbers().get("lag_seconds", 0) > 0)
                out["now"] = False
                await receiver.wait(lambda: len(receiver.sequences()) == len(told))  # the next probe is the turn
                await receiver.wait(lambda: b.standing().waiting == 0)
            assert sorted(receiver.sequences()) == told
            assert all(story == sorted(story) for story in receiver.stories().values())

    asyncio.run(scenario())


def test_a_receiver_that_wants_no_more_is_disabled(database_url: str, bench: Benched) -> None:
    """410: nothing more is sent; nothing is lost either, once an operator brings the hook back."""
    gone = {"now": True}

    async def scenario() -> None:
        async with bench(database_url) as b, receiving(lambda _: answered(410 if gone["now"] else OK)) as receiver:
            hook = b.hook(receiver.url)
            async with b.delivering(hook) as deliverer:
                await b.leading(deliverer)
                told = tell(b.database, "sub_a", *STORY)
                await receiver.wait(lambda: b.standing().disabled_at_ms is not None)
                tell(b.database, "sub_b", *STORY)
                await asyncio.sleep(1)
                assert len(receiver.messages) == 1
            gone["now"] = False
            async with b.delivering(hook):
                await asyncio.sleep(1)
                assert len(receiver.messages) == 1
            with b.database.write() as c:
                store.replay_dead(c, "board", b.database.now_ms(c))
            async with b.delivering(hook):
                await receiver.wait(lambda: len(receiver.taken) == 10)
            assert receiver.stories()["sub_a"] == told

    asyncio.run(scenario())


def test_a_new_address_brings_a_disabled_hook_back(sqlite_url: str, bench: Benched) -> None:
    async def scenario() -> None:
        async with bench(sqlite_url) as b, receiving(lambda _: answered(410)) as old, receiving() as new:
            async with b.delivering(b.hook(old.url)) as deliverer:
                await b.leading(deliverer)
                told = tell(b.database, "sub_a", *STORY)
                await old.wait(lambda: b.standing().disabled_at_ms is not None)
            async with b.delivering(b.hook(new.url)):
                await new.wait(lambda: new.sequences() == told)
            assert b.standing().disabled_at_ms is None

    asyncio.run(scenario())


async def _hang(message: Message) -> web.Response:
    await asyncio.sleep(600)
    return answered(OK)


async def _huge(message: Message) -> web.StreamResponse:
    """Status 200 and then a body without end."""
    response = web.StreamResponse(status=200)
    await response.prepare(message.request)
    while True:
        try:
            await response.write(bytes(1 << 20))
        except (ConnectionError, asyncio.CancelledError):
            return response


async def _trickle(message: Message) -> web.StreamResponse:
    """Status 200 and then a byte a second."""
    response = web.StreamResponse(status=200)
    await response.prepare(message.request)
    for _ in range(60):
        try:
            await response.write(b".")
        except (ConnectionError, asyncio.CancelledError):
            break
        await asyncio.sleep(0.2)
    return response


def _redirect(message: Message) -> web.Response:
    return answered(301, location=str(message.request.url.with_path("/hook/elsewhere")))


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [(_redirect, "answered 301"), (lambda _: answered(404), "answered 404")],
    ids=["redirects", "refuses"],
)
def test_nothing_waits_until_a_refused_event_is_tried_again(
    sqlite_url: str, bench: Benched, behaviour: Callable[[Message], web.Response], error: str
) -> None:
    """One bad submission: all else arrives though no time passes, and the failure is told without the address."""

    def respond(message: Message) -> web.Response:
        return behaviour(message) if message.data["submissionId"] == "sub_bad" else answered(OK)

    async def scenario() -> None:
        async with bench(sqlite_url) as b, receiving(respond) as receiver:
            async with b.delivering(b.hook(receiver.url)) as deliverer:
                await b.leading(deliverer)
                b.clock.stand_still()
                (bad,) = tell(b.database, "sub_bad", "accepted")
                told = tell_many(b.database, 50, STORY)
                await receiver.wait(lambda: len(receiver.sequences()) == len(told))
                b.clock.go_on()
                await receiver.wait(lambda: b.standing().waiting == 1)
            assert b.standing().error == error
            assert [message.data["sequence"] for message in receiver.messages].count(bad) == 1
            paths = {message.request.path for message in receiver.messages}
            assert paths == {"/hook/t0ken"}  # a redirect is not followed

    asyncio.run(scenario())


def test_nothing_waits_for_an_answer_that_does_not_come(sqlite_url: str, bench: Benched) -> None:
    """Everything else has arrived while the first event's attempt is still under way."""

    async def scenario() -> None:
        released = asyncio.Event()

        async def respond(message: Message) -> web.Response:
            if message.data["submissionId"] == "sub_bad":
                await released.wait()
            return answered(OK)

        async with bench(sqlite_url) as b, receiving(respond) as receiver:
            async with b.delivering(b.hook(receiver.url, timeout_s=60)) as deliverer:
                await b.leading(deliverer)
                (bad,) = tell(b.database, "sub_bad", "accepted")
                told = tell_many(b.database, 50, STORY)
                await receiver.wait(lambda: len(receiver.sequences()) == len(told), 50)
                assert receiver.under_way["sub_bad"] == 1
                released.set()
                await receiver.wait(lambda: receiver.sequences()[-1] == bad)
            assert len(receiver.messages) == len(told) + 1

    asyncio.run(scenario())


def test_who_does_not_answer_is_given_up_in_time(sqlite_url: str, bench: Benched) -> None:
    async def scenario() -> None:
        async with bench(sqlite_url) as b, receiving(_hang) as receiver:
            async with b.delivering(b.hook(receiver.url, timeout_s=0.5)) as deliverer:
                await b.leading(deliverer)
                tell(b.database, "sub_bad", "accepted")
                await receiver.wait(lambda: b.standing().waiting == 1)
            assert b.standing().error == "did not answer within 0.5 s"

    asyncio.run(scenario())


@pytest.mark.parametrize("behaviour", [_huge, _trickle], ids=["huge body", "slow body"])
def test_the_status_is_the_answer_and_the_body_is_not_read(
    sqlite_url: str, bench: Benched, behaviour: Callable[[Message], web.Response]
) -> None:
    async def scenario() -> None:
        async with bench(sqlite_url) as b, receiving(behaviour) as receiver:
            async with b.delivering(b.hook(receiver.url)) as deliverer:
                await b.leading(deliverer)
                told = tell_many(b.database, 20, ("accepted",))
                before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                await receiver.wait(lambda: b.standing().delivered == len(told))
                grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
            assert grown_kb < 64_000  # 16 at a time, each with a buffer of 64 KiB and the server's megabyte
            assert len(receiver.messages) == len(told)

    asyncio.run(scenario())


def test_an_address_where_nobody_listens(sqlite_url: str, bench: Benched) -> None:
    async def scenario() -> None:
        async with bench(sqlite_url) as b, receiving() as receiver:
            pass
        async with bench(sqlite_url) as b, b.delivering(b.hook(receiver.url)) as deliverer:
            await b.leading(deliverer)
            tell(b.database, "sub_a", "accepted")
            await receiver.wait(lambda: b.standing().waiting == 1)
            assert b.standing().error == "cannot be reached (Connection refused)"
            assert "t0ken" not in str(b.standing())

    asyncio.run(scenario())


def test_a_receiver_may_say_when_to_come_back(sqlite_url: str, bench: Benched) -> None:
    async def scenario() -> None:
        slow = [True]

        def respond(message: Message) -> web.Response:
            return answered(429, retry_after="3600") if slow[0] else answered(OK)

        async with (
            bench(sqlite_url) as b,
            receiving(respond) as receiver,
            b.delivering(b.hook(receiver.url)) as deliverer,
        ):
            await b.leading(deliverer)
            (seq,) = tell(b.database, "sub_a", "accepted")
            await receiver.wait(lambda: b.standing().waiting == 1)
            b.clock.ahead_s += 1800
            await asyncio.sleep(0.8)
            assert len(receiver.messages) == 1
            slow[0] = False
            b.clock.ahead_s += 1900
            await receiver.wait(lambda: receiver.sequences() == [seq])

    asyncio.run(scenario())


def test_only_what_the_hook_wants(database_url: str, bench: Benched) -> None:
    async def scenario() -> None:
        async with bench(database_url) as b, receiving() as receiver:
            hook = b.hook(receiver.url, game="other", statuses=frozenset({"final", "revoked"}))
            async with b.delivering(hook) as deliverer:
                await b.leading(deliverer)
                last = tell_many(b.database, 300, STORY)[-1]
                wanted = tell(b.database, "sub_x", *STORY, "revoked", game_id="other")[-2:]
                await receiver.wait(lambda: len(receiver.taken) == 2)
                await receiver.wait(lambda: (b.standing().position or 0) > last)
            assert receiver.sequences() == wanted

    asyncio.run(scenario())


def test_replay_from_a_sequence(database_url: str, bench: Benched) -> None:
    """While it runs: the deliverer notices, and tells again from there, in order, with the same ids."""

    async def scenario() -> None:
        async with bench(database_url) as b, receiving() as receiver:
            async with b.delivering(b.hook(receiver.url)) as deliverer:
                await b.leading(deliverer)
                told = tell_many(b.database, 10, STORY)
                await receiver.wait(lambda: b.standing().position == told[-1])
                first = [message.id for message in receiver.taken]
                receiver.taken.clear()
                with b.database.write() as c:
                    assert store.replay_from(c, "board", told[20]) == told[-1]
                    assert store.replay_from(c, "unknown", 1) is None
                await receiver.wait(lambda: len(receiver.taken) == 30)
                await asyncio.sleep(0.5)
            assert sorted(receiver.sequences()) == told[20:]
            assert {message.id for message in receiver.taken} <= set(first)

    asyncio.run(scenario())


def test_two_deliverers_take_turns(database_url: str, bench: Benched, monkeypatch: pytest.MonkeyPatch) -> None:
    """One holds the lease, the other waits; after an orderly stop the other goes on where the first was."""
    monkeypatch.setattr(module, "LEASE_S", 2.0)
    monkeypatch.setattr(module, "RENEW_S", 0.5)

    async def scenario() -> None:
        async with bench(database_url) as b, receiving() as receiver:
            hook = b.hook(receiver.url)
            async with b.delivering(hook, "second") as second:
                async with b.delivering(hook, "first") as first:
                    await receiver.wait(lambda: first.tally.leading or second.tally.leading)
                    told = tell_many(b.database, 20, STORY)
                    await receiver.wait(lambda: len(receiver.taken) == len(told))
                    await asyncio.sleep(2.5)  # longer than a lease: it is renewed
                    assert first.tally.leading + second.tally.leading == 1
                await b.leading(second)
                more = tell(b.database, "sub_z", *STORY)
                await receiver.wait(lambda: receiver.sequences()[-1] == more[-1])
            assert len(receiver.messages) == len(told) + len(more)

    asyncio.run(scenario())


def test_a_deliverer_that_slept_sends_and_writes_nothing(
    sqlite_url: str, bench: Benched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease ran out while it did not run (SIGSTOP): it looks at its own clock before every attempt."""
    monkeypatch.setattr(module, "LEASE_S", 1.0)
    monkeypatch.setattr(module, "RENEW_S", 60.0)  # never renewed: as if the process stood still

    async def scenario() -> None:
        async with (
            bench(sqlite_url) as b,
            receiving() as receiver,
            b.delivering(b.hook(receiver.url), "sleeper") as sleeper,
        ):
            await b.leading(sleeper)
            lease = sleeper._lease
            await receiver.wait(lambda: sleeper._lease.epoch > lease.epoch)
            with b.database.write() as c, pytest.raises(store.HookLostError):
                store.save(c, "board", lease.epoch, 99, store.Progress(), now_ms=0, ttl_ms=1)
            assert b.standing().position != 99

    asyncio.run(scenario())


def test_a_changed_secret_signs_without_a_restart(sqlite_url: str, bench: Benched) -> None:
    async def scenario() -> None:
        async with bench(sqlite_url) as b, receiving() as receiver:
            hook = b.hook(receiver.url)
            async with b.delivering(hook) as deliverer:
                await b.leading(deliverer)
                new = new_secret()
                hook.secret_file.write_text(f"{new}\n{b.secret}\n")
                tell(b.database, "sub_a", "accepted")
                await receiver.wait(lambda: b.standing().delivered == 1)
                await asyncio.sleep(1)
                tell(b.database, "sub_b", "accepted")
                await receiver.wait(lambda: len(receiver.taken) == 2)
            last = receiver.taken[-1]
            assert Webhook(new).verify(last.body, last.headers) == Webhook(b.secret).verify(last.body, last.headers)

    asyncio.run(scenario())


def test_hooks_are_shown_without_what_their_address_may_hide() -> None:
    tables = {"chat": {"url": "https://chat.example:8443/hooks/T0KEN?x=SECRET", "secret_file": "s"}}
    (hook,) = hooks_of(tables)
    assert hook.shown == "https://chat.example:8443/…"
    assert "T0KEN" not in repr(hook)
    assert "SECRET" not in repr(hook)
