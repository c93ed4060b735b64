"""A second baseline of the accept benchmark: a durable, signing score server written the straightforward way.

Starlette, one ORM session and one commit per request on SQLite (WAL, synchronous=FULL), eth-account's typed data.

    python plain_relay.py PORT DATABASE_FILE

It recomputes and signs as Fairscore does; it has no rate limit, no evidence, no duplicate detection and sends nothing.
"""

import asyncio
import sys
from typing import Any

import uvicorn
from eth_account import Account
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

KEY = (0xFA125C0FE).to_bytes(32, "big")
TYPES = {
    "ScoreBatch": [
        {"name": "gameId", "type": "bytes32"},
        {"name": "rulesHash", "type": "bytes32"},
        {"name": "deadline", "type": "uint64"},
        {"name": "records", "type": "bytes"},
    ]
}
DOMAIN = {"name": "Leaderboard", "version": "1", "chainId": 31337, "verifyingContract": "0x" + "11" * 20}


class Base(DeclarativeBase):
    """Tables of this server."""


class Score(Base):
    """One accepted score."""

    __tablename__ = "scores"
    id: Mapped[int] = mapped_column(primary_key=True)
    player: Mapped[str]
    score: Mapped[int]
    signature: Mapped[str] = mapped_column(default="")


def sign(player: str, score: int, round_id: int) -> str:
    """An attestation of one score, made by the library."""
    records = bytes.fromhex(player[2:]) + score.to_bytes(12, "big") + round_id.to_bytes(8, "big") + bytes(32)
    message = {"gameId": bytes(32), "rulesHash": bytes(32), "deadline": 2_000_000_000, "records": records}
    return str(Account.sign_typed_data(KEY, DOMAIN, TYPES, message).signature.hex())


def judge(data: dict[str, Any]) -> int | None:
    """The recomputed score, or None when the claim is not within 1 of it."""
    expected10 = min(10 + data["combo"], 500) * (10 * data["perfect"] + 5 * data["good"])
    return expected10 // 10 if abs(10 * data["score"] - expected10) <= 10 else None


def store(sessions: sessionmaker[Session], player: str, score: int) -> Score:
    """Insert, sign with the number it got, commit."""
    with sessions(expire_on_commit=False) as session:
        row = Score(player=player, score=score)
        session.add(row)
        session.flush()
        row.signature = sign(player, score, row.id)
        session.commit()
        return row


def build(database: str) -> Starlette:
    """The application over a database file."""
    engine = create_engine(f"sqlite:///{database}")

    @event.listens_for(engine, "connect")
    def durable(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=30000")

    @event.listens_for(engine, "begin")
    def immediate(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    Base.metadata.create_all(engine)
    sessions = sessionmaker(engine)

    async def submit(request: Request) -> JSONResponse:
        body = await request.json()
        score = judge(body["scoreData"])
        if score is None:
            return JSONResponse({"success": False, "error": "Score validation failed"}, 422)
        row = await asyncio.to_thread(store, sessions, body["playerAddress"], score)
        return JSONResponse({"success": True, "score": row.score, "signature": row.signature}, 202)

    return Starlette(routes=[Route("/api/submit-score", submit, methods=["POST"])])


if __name__ == "__main__":
    uvicorn.run(build(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
