"""An indexer over a fake chain without HTTP, and readers that know only the stream's protocol."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Self

from indexer.archive import Archive
from indexer.boards import BoardConfig
from indexer.fold import Evidence
from indexer.follower import Chain, Follower, Plan
from indexer.frames import SSE, Wire, parse_event_id
from indexer.messages import checksummed
from indexer.ordering import block_of, log_index_of
from indexer.standings import Standings
from indexer.state import State
from indexer.store.access import Store
from indexer.store.schema import metadata
from indexer.stream import Hub, Wish
from relay.store.engine import Database
from relay.store.writer import Writer

GAME = "streambeat"
TOP = 100


class NoEvidence:
    """Nobody publishes anything."""

    quick = True

    def __init__(self) -> None:
        self.known: dict[bytes, Evidence] = {}

    async def find(self, hashes: Sequence[bytes]) -> dict[bytes, Evidence]:
        """What is known."""
        return {known: self.known[known] for known in hashes if known in self.known}

    async def close(self) -> None:
        """Nothing to let go of."""


class Reader:
    """A client: applies a snapshot and every message after it; checks that no number is missing or repeated.

    It is its own `Line` and `Pipe`: what the hub writes it has read.
    """

    wire: Wire = SSE

    def __init__(self, earlier: "Reader | None" = None) -> None:
        self.rows: dict[str, dict[str, Any]] = dict(earlier.rows) if earlier else {}
        self.total: int = earlier.total if earlier else 0
        self.last_id: str = earlier.last_id if earlier else ""
        self.order: str = earlier.order if earlier else ""
        self.ties: str = earlier.ties if earlier else ""
        self.season: str = earlier.season if earlier else ""
        self.kinds: list[str] = []
        self.scores: set[str] = set(earlier.scores) if earlier else set()
        self.complete: bool = earlier.complete if earlier else False  # heard of every score there is
        self.ended = False
        self._buffer = b""

    async def accept(self) -> None:
        """Nothing to answer."""

    def write(self, data: bytes) -> bool:
        """Take one chunk as a browser would."""
        size, _, chunk = data.partition(b"\r\n")
        assert len(chunk) == int(size, 16) + 2
        self._take(chunk[:-2])
        return True

    async def room(self) -> None:
        """There is always room."""

    def take_over(self, gone: Callable[[], None]) -> Self:
        """Hear nothing but the frames from now on."""
        self._gone = gone
        return self

    def finish(self) -> None:
        """The server has ended it."""
        self.ended = True

    def abort(self) -> None:
        """The server has cut it off."""
        self.ended = True

    def _take(self, block: bytes) -> None:
        """Read some of the body."""
        *frames, self._buffer = (self._buffer + block).split(b"\n\n")
        for frame in frames:
            fields = dict(line.split(": ", 1) for line in frame.decode().split("\n") if not line.startswith(":"))
            if "data" in fields:
                self._event(fields["id"], fields["event"], json.loads(fields["data"]))

    def _event(self, event_id: str, kind: str, data: dict[str, Any]) -> None:
        epoch, seq = map(int, event_id.split("-"))
        assert data["type"] == kind
        assert data["seq"] == seq
        if kind != "snapshot":
            assert self.last_id == f"{epoch}-{seq - 1}", f"{self.last_id} was followed by {event_id}"
        self.last_id = event_id
        self.kinds.append(kind)
        if kind in {"snapshot", "season"}:
            self._anew(kind, data)
        elif kind == "standing":
            self.total = data["total"]
            if data["rank"] is None:
                del self.rows[data["player"]]
            else:
                self.rows[data["player"]] = data
        elif kind == "score":
            assert data["scoreId"] not in self.scores
            self.scores.add(data["scoreId"])
        elif kind == "retract":
            assert data["scoreId"] in self.scores or not self.complete
            self.scores.discard(data["scoreId"])
        elif kind == "final":
            for row in self.rows.values():
                if f"{data['gameId']}:{row['roundId']}" in data["scoreIds"]:
                    row["status"] = "final"

    def _anew(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "snapshot":
            self.complete = data["seq"] == 0
            self.order, self.ties = data["order"], data["ties"]
        self.rows, self.total = {row["player"]: row for row in data["rows"]}, data["total"]
        self.season = data["season"]["name"]

    async def leave(self) -> None:
        """Close the connection."""
        self._gone()

    def top(self) -> list[tuple[int, str, int, list[int], str]]:
        """(rank, player, score, position, status) of the top, ranks by sorting."""
        ahead = -1 if self.order == "desc" else 1
        ordered = sorted(self.rows.values(), key=lambda row: (ahead * int(row["score"]), row["position"]))[:TOP]
        ranks = list(range(1, len(ordered) + 1))
        for i in range(1, len(ordered)):
            if self.ties == "shared" and ordered[i]["score"] == ordered[i - 1]["score"]:
                ranks[i] = ranks[i - 1]
        return [
            (rank, r["player"], int(r["score"]), r["position"], r["status"])
            for rank, r in zip(ranks, ordered, strict=True)
        ]


class Watching:
    """One process's worth of indexer; `restart` makes the next one over the same database."""

    def __init__(
        self,
        chain: Chain,
        database: Database,
        plan: Plan | None = None,
        boards: Sequence[BoardConfig] = (BoardConfig(),),
    ) -> None:
        self.chain, self.database, self.boards = chain, database, boards
        self.plan = plan or Plan(games=(GAME,), confirmations=2)
        self.evidence = NoEvidence()
        self.writer = Writer(database)
        self.writer.start()
        self._build()

    def _build(self) -> None:
        self.store = Store(self.database, self.writer)
        self.hub = Hub(self.store.stream_tail)
        self.archive = Archive(self.store)
        plan = self.plan._replace(boards={GAME: self.boards})
        self.follower = Follower(self.chain, self.store, self.evidence, (self.archive, self.hub), plan)

    @property
    def state(self) -> State:
        """What is committed."""
        assert self.follower.state is not None
        return self.follower.state

    async def restart(self) -> None:
        """Forget everything in memory."""
        self.hub.close_streams()
        self._build()
        await self.follower.connect()

    async def catch_up(self) -> None:
        """Step until there is nothing left to do."""
        for _ in range(1000):
            if not await self.follower.step() and self.follower.state is not None:
                head = await self.chain.head()
                if self.state.tip == head.mark:
                    return
        raise AssertionError("does not settle")

    async def join(self, earlier: Reader | None = None, board: int = 1) -> Reader:
        """Open a stream; a client whose connection was lost keeps what it knew and asks for what it missed."""
        reader = Reader(earlier)
        wish = Wish(parse_event_id(reader.last_id))
        assert await self.hub.serve(board, reader, wish)
        return reader

    def standings(self, game: str = GAME, name: str = "default") -> list[tuple[bytes, int, tuple[int, int]]]:
        """(player, value, position) of everybody in ranking order, from memory."""
        board = self.state.find(game, name)
        assert board is not None
        return listed(board.standings)

    async def stop(self) -> None:
        """End the thread."""
        self.hub.close_streams()
        await self.writer.stop()


def listed(standings: Standings) -> list[tuple[bytes, int, tuple[int, int]]]:
    """(player, value, position) of everybody in ranking order."""
    seats = [(player, standings.config.standing(key)) for key, player in standings.ranking]
    return [(player, value, (block_of(place), log_index_of(place))) for player, (value, place) in seats]


def wipe(database: Database) -> None:
    """Make the tables anew: quicker than a new database for every example."""
    with database.engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)


def named(player: bytes) -> str:
    """A player as clients see it."""
    return checksummed(player)
