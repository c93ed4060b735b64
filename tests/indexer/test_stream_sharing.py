"""One block of bytes for all readers at one place, whoever they are and however they got there."""

import asyncio
import random

import pytest

from indexer.frames import WIRES, Wire, parse_event_id
from indexer.stream import Wish
from relay.store.engine import Database
from tests.indexer.fake_chain import FakeChain
from tests.indexer.test_stream_stress import Stalling, database, play
from tests.indexer.watching import Watching

__all__ = ["database"]  # a fixture


class Keeping(Stalling):
    """Keeps the very bytes it was written."""

    def __init__(self, wire: Wire, earlier: "Stalling | None" = None) -> None:
        super().__init__(wire, earlier)
        self.blocks: list[bytes] = []

    def write(self, data: bytes) -> bool:
        """Take frames where the connection has room."""
        taken = super().write(data)
        if taken:
            self.blocks.append(data)
        return taken


@pytest.mark.parametrize("wire", WIRES, ids=["sse", "ws"])
def test_readers_share_the_bytes_they_are_written(database: Database, wire: Wire) -> None:
    """Those who have everything, those who come, and those who come back: a thousand do not hold a thousand copies."""
    asyncio.run(check_sharing(database, wire))


async def check_sharing(database: Database, wire: Wire) -> None:
    """One stalls and goes on by itself; then it is among the others again."""
    chain = FakeChain()
    watching = Watching(chain, database)
    readers = [Keeping(wire) for _ in range(3)]
    await watching.catch_up()
    for reader in readers:
        assert await watching.hub.serve(1, reader, Wish())
    play(chain, random.Random(1))
    await watching.catch_up()
    readers[2].free.clear()
    play(chain, random.Random(2))
    await watching.catch_up()
    assert [len(reader.blocks) for reader in readers[:2]] == [len(readers[1].blocks)] * 2
    assert len(readers[2].blocks) < len(readers[1].blocks)
    readers[2].free.set()
    await asyncio.sleep(0.01)
    late = [Keeping(wire, readers[0]) for _ in range(2)]
    play(chain, random.Random(3))
    await watching.catch_up()
    for reader in late:
        assert await watching.hub.serve(1, reader, Wish(parse_event_id(reader.last_id)))
    assert {reader.last_id for reader in (*readers, *late)} == {readers[0].last_id}
    one, *others = readers
    assert all(reader.blocks[-1] is one.blocks[-1] for reader in others)
    assert late[0].blocks[-1] is late[1].blocks[-1]
    assert not any(reader.wrong for reader in (*readers, *late))
    for reader in (*readers, *late):
        await reader.leave()
    assert watching.hub.readers == 0
    await watching.stop()
