"""Whether the database knows every score its contract holds, asked once at start.

Touches the chain through the `Calls` it is handed. A database that was lost or restored from a backup would give round
numbers a second time; the contract records each once, so those scores would be promised and never recorded.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from relay.contract import decode_result, encode_call, game_key
from relay.errors import StartupError

# How far ahead of the next round number to look. Numbers are given without gaps, so on a chain that is ahead the very
# next one is recorded, unless its batch was lost with the database: batches hold 500 at most, and 16 are under way.
AHEAD = (*range(8), *(2**power for power in range(3, 14)))


class Calls(Protocol):
    """A chain that answers view functions."""

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """Return what `eth_call` returns at the latest block."""


NextRound = Callable[[str], Awaitable[int]]


async def check(chain: Calls, contract: bytes, game_ids: Iterable[str], next_round: NextRound) -> None:
    """Refuse to start over a contract that holds rounds which `next_round` (by game id) would give again.

    Raises:
        StartupError: naming the game and the round.
        ChainError: the endpoint does not answer.
    """
    for game_id in game_ids:
        first = await next_round(game_id)
        for round_id in (first + ahead for ahead in AHEAD):
            call = encode_call("isRecorded", game_key(game_id), round_id)
            recorded = bool(decode_result("isRecorded", await chain.call(contract, call)))
            # Another process may have given and recorded it since `first` was read: then it is known by now.
            if recorded and await next_round(game_id) <= round_id:
                raise StartupError(
                    f"the contract holds round {round_id} of game {game_id}, and this database never gave that number: "
                    "it is not the contract's database, or an old copy. Restore the newest one, or start anew with a "
                    "contract of its own (`fairscore deploy`; on the embedded chain another FAIRSCORE_HOME)"
                )
