"""New blocks as WebSocket endpoints announce them: `eth_subscribe("newHeads")` of geth's and every other client.

Touches WebSocket connections. What is announced only wakes the follower, which asks as ever: a subscription that lies
or dies can make it late, never wrong. One that says nothing while the chain moves on is made anew.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWebSocketResponse, WSMsgType

from relay.outbox.providers import names

CONNECT_S = 10.0
SILENCE_S = 5.0  # without an announcement for so long, it is looked whether there was something to announce
AGAIN_S = (0.1, 0.5, 2.0, 5.0, 15.0)  # before a connection is made anew
HEARTBEAT_S = 15.0  # a ping; without a pong the connection is dead
MESSAGE_MAX = 1 << 20
SUBSCRIBE = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}

log = logging.getLogger(__name__)


class SubscriptionError(Exception):
    """The endpoint does not announce blocks."""


class NewHeads:
    """Subscriptions at some endpoints, all at once: the first to know wakes the follower.

    `tell` hears each announced number; `newest` is the newest block known otherwise. URLs may hold a token: only
    `host:port` is ever shown.
    """

    def __init__(self, urls: Sequence[str], tell: Callable[[int], None], newest: Callable[[], int | None]) -> None:
        self._urls = dict(zip(names(urls), urls, strict=True))
        self._tell, self._newest = tell, newest
        self._live: set[str] = set()
        self.trouble: dict[str, str] = dict.fromkeys(self._urls, "not connected yet")

    @property
    def live(self) -> bool:
        """Whether at least one subscription is there."""
        return bool(self._live)

    async def run(self) -> None:
        """Keep all subscriptions until cancelled."""
        await asyncio.gather(*(self._keep(name) for name in self._urls))

    async def _keep(self, name: str) -> None:
        failures = 0
        while True:
            try:
                await self._listen(name)
            except (ClientError, OSError, SubscriptionError) as error:  # a timeout is an OSError
                known = isinstance(error, SubscriptionError)
                why = str(error) if known else f"the connection failed ({type(error).__name__})"
            finally:
                failures = 0 if name in self._live else failures
                self._live.discard(name)
            self.trouble[name] = why
            log.log(logging.INFO if failures else logging.WARNING, "%s announces no blocks now: %s", name, why)
            await asyncio.sleep(AGAIN_S[min(failures, len(AGAIN_S) - 1)])
            failures += 1

    async def _listen(self, name: str) -> None:
        async with (
            ClientSession(timeout=ClientTimeout(total=None, connect=CONNECT_S)) as session,
            session.ws_connect(self._urls[name], heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_MAX) as socket,
        ):
            await socket.send_str(msgspec.json.encode(SUBSCRIBE).decode())
            known = await self._subscribed(socket)
            self._live.add(name)
            self.trouble[name] = ""
            log.info("%s announces new blocks", name)
            last = missed = self._newest()
            while True:
                try:
                    said = await _message(socket, SILENCE_S)
                except TimeoutError:
                    last, missed = _after_silence(last, missed, self._newest())
                    continue
                number = _announced(said, known)
                if number is not None:
                    last = number
                    self._tell(number)

    async def _subscribed(self, socket: ClientWebSocketResponse) -> str:
        """Return the subscription's id."""
        said = await _message(socket, CONNECT_S)
        while said.get("id") != SUBSCRIBE["id"]:
            said = await _message(socket, CONNECT_S)
        known = said.get("result")
        if not isinstance(known, str):
            fault = said.get("error")
            raise SubscriptionError(f"it refuses the subscription: {str(fault)[:200]}")
        return known


def _after_silence(last: int | None, missed: int | None, newest: int | None) -> tuple[int | None, int | None]:
    """Return the block heard of last and the newest there is, to be compared after the next silence.

    Raises:
        SubscriptionError: a block that was there one silence ago was not announced.
    """
    if last is not None and missed is not None and missed > last:
        raise SubscriptionError(f"it announced nothing, although block {missed} is there")
    return newest if last is None else last, newest


async def _message(socket: ClientWebSocketResponse, within_s: float) -> dict[str, Any]:
    """Return the next JSON object, raise TimeoutError where none comes in time."""
    message = await socket.receive(within_s)
    if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
        raise SubscriptionError("it closed the connection")
    try:
        said = msgspec.json.decode(message.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = None
    if not isinstance(said, dict):
        raise SubscriptionError("what it says is not JSON-RPC")
    return said


def _announced(said: dict[str, Any], known: str) -> int | None:
    """Return the number of the block that a notification of our subscription announces, None for anything else."""
    params = said.get("params")
    if said.get("method") != "eth_subscription" or not isinstance(params, dict) or params.get("subscription") != known:
        return None
    try:
        return int(params["result"]["number"], 16)
    except (KeyError, TypeError, ValueError):
        raise SubscriptionError("it announced something that is no block") from None
