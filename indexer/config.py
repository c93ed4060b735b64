"""The indexer's settings: the same `FAIRSCORE_*` variables that the relay reads, as far as they concern it.

Reads the environment, through `relay.config_sources`.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from relay.config_sources import SourcedSettings

DEFAULT_GAME = "streambeat"


class IndexerSettings(SourcedSettings):
    """What an operator may decide about following and serving. Frozen; nothing secret is in its repr."""

    home: Path = Field(Path(".fairscore"), description="folder of all local state")
    host: str = Field("127.0.0.1", description="interface to listen on")
    indexer_port: int = Field(8001, ge=0, le=65535, description="port of `indexer` when it runs alone")
    database_url: str = Field(
        "", repr=False, description="`sqlite:///file` or `postgresql://…`; empty: a SQLite file in home"
    )
    rpc_url: str = Field("", repr=False, description="JSON-RPC of the chain")
    contract: str = Field("", description="address of Leaderboard")
    start_block: int = Field(0, ge=0, description="first block to read: the contract's deployment")
    finality: int = Field(0, ge=0, description="confirmations until `final`; 0: the chain's `finalized` tag, else 12")
    indexer_poll_ms: int = Field(
        0, ge=0, description="how often the chain is asked for news; 0: a tenth of its block time"
    )
    evidence_url: str = Field("", description="relay to fetch evidence from; empty: the same database")
    games: dict[str, dict[str, Any]] = Field(default_factory=dict, description="games, in TOML: `[games.<id>]`")
    config: Path | None = Field(None, description="TOML file with any of these settings")

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @property
    def database(self) -> str:
        """The database's URL, after the default is filled in."""
        return self.database_url or f"sqlite:///{self.home / 'fairscore.db'}"

    @property
    def game_ids(self) -> tuple[str, ...]:
        """The games whose boards exist from the start, the default one first."""
        return tuple(self.games) or (DEFAULT_GAME,)
