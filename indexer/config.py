"""The indexer's settings: the same `FAIRSCORE_*` variables that the relay reads, as far as they concern it.

Reads the environment, through `relay.config_sources`.
"""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from indexer.boards import BoardConfig, boards_of_game
from relay.config_sources import SourcedSettings, checked_endpoints
from relay.submission import read_address

DEFAULT_GAME = "streambeat"


class IndexerSettings(SourcedSettings):
    """What an operator may decide about following and serving. Frozen; nothing secret is in its repr."""

    rpc_url: str = Field("", repr=False, description="JSON-RPC of the chain, as the relay's")
    contract: str = Field("", description="address of Leaderboard")
    start_block: int = Field(0, ge=0, description="first block to read: the contract's deployment")
    indexer_poll_ms: int = Field(
        0, ge=0, description="how often the chain is asked for news; 0: a tenth of its block time"
    )
    evidence_url: str = Field("", description="relay to fetch evidence from; empty: the same database")
    evidence_grace_s: float = Field(
        10, ge=0, le=3600, description="seconds that evidence may be late before its score is disputed"
    )
    attestors: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="addresses that relays sign with (comma between them), beside those of relays on this database"
    )

    @field_validator("rpc_url", mode="before")
    @classmethod
    def _endpoints(cls, value: object) -> str:
        return checked_endpoints(value)

    @field_validator("attestors", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value

    @field_validator("attestors")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            read_address(text, "/attestors")
        return value

    @property
    def attestor_keys(self) -> frozenset[bytes]:
        """The addresses of `attestors`, 20 bytes each."""
        return frozenset(bytes.fromhex(text[2:]) for text in self.attestors)

    @property
    def boards(self) -> dict[str, tuple[BoardConfig, ...]]:
        """The boards of each game that exist from the start, `default` first.

        Raises:
            BoardError: one is not usable; the message names game and board.
        """
        return {game_id: boards_of_game(game_id, self.games.get(game_id, {})) for game_id in self.game_ids}

    @property
    def game_ids(self) -> tuple[str, ...]:
        """The games whose boards exist from the start, the default one first."""
        return tuple(self.games) or (DEFAULT_GAME,)
