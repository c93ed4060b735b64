"""The indexer's settings: the same `FAIRSCORE_*` variables that the relay reads, as far as they concern it.

The only place of this package that reads the environment.
"""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

PREFIX = "FAIRSCORE_"
FROM_FILE = ("database_url", "rpc_url")  # these carry passwords and tokens
DEFAULT_GAME = "streambeat"


class IndexerSettings(BaseSettings):
    """What an operator may decide about following and serving. Frozen; nothing secret is in its repr."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the sources in order: what the caller gives, the environment, `*_FILE`, the TOML file."""
        toml = os.environ.get(f"{PREFIX}CONFIG")
        sources = (init_settings, env_settings, _FromFile(settings_cls))
        return (*sources, TomlConfigSettingsSource(settings_cls, Path(toml))) if toml else sources


class _FromFile(PydanticBaseSettingsSource):
    """`FAIRSCORE_X_FILE=/run/secrets/x` instead of `FAIRSCORE_X=…`: values that must not stand in an environment."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE") if field_name in FROM_FILE else None
        return (Path(path).read_text().strip() if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}
