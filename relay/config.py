"""Every setting of the relay, read once into one frozen object.

The only place of this package that reads the environment. Order: command line, `FAIRSCORE_*` variables,
`FAIRSCORE_*_FILE` (the value is in the file it names), then the TOML file named by `FAIRSCORE_CONFIG`.
"""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

PREFIX = "FAIRSCORE_"
FROM_FILE = ("database_url", "rpc_url")  # these carry passwords and tokens


class Settings(BaseSettings):
    """What an operator may decide. The README's table is checked against these descriptions."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    home: Path = Field(Path(".fairscore"), description="folder of all local state")
    host: str = Field("127.0.0.1", description="interface to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port of `run` and `relay`")
    indexer_port: int = Field(8001, ge=0, le=65535, description="port of `indexer` when it runs alone")
    database_url: str = Field(
        "", repr=False, description="`sqlite:///file` or `postgresql://…`; empty: a SQLite file in home"
    )
    rpc_url: str = Field("", repr=False, description="JSON-RPC of the chain; empty: the embedded chain (`run` only)")
    contract: str = Field("", description="address of Leaderboard; empty: deployed once, remembered in home")
    start_block: int = Field(0, ge=0, description="block of the deployment, when FAIRSCORE_CONTRACT is set")
    admin_key_file: Path | None = Field(None, description="key that deploys and publishes rules")
    attestation_key_file: Path | None = Field(None, description="key that signs what was computed")
    gas_key_file: Path | None = Field(None, description="key that sends transactions and pays for them")
    key_password_file: Path | None = Field(None, description="password of key files in keystore format (V3)")
    finality: int = Field(0, ge=0, description="confirmations until `final`; 0: the chain's `finalized` tag, else 12")
    poll_ms: int = Field(250, ge=10, description="how often a chain without subscriptions is asked for news")
    batch_size: int = Field(100, ge=1, le=500, description="scores per transaction at most")
    batch_wait_ms: int = Field(250, ge=0, description="how long a score waits for company before it is sent alone")
    receipt_days: int = Field(7, ge=1, le=365, description="how long a receipt may be carried to the chain")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="how much is logged")
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
    def embedded(self) -> bool:
        """Whether the system runs on its own embedded chain: the only case in which keys are made up."""
        return not self.rpc_url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the sources in the order the module's docstring promises."""
        toml = os.environ.get(f"{PREFIX}CONFIG")
        files = TomlConfigSettingsSource(settings_cls, Path(toml)) if toml else None
        if toml and not Path(toml).is_file():
            raise FileNotFoundError(f"{PREFIX}CONFIG names {toml}, which is not a file")
        chain = (init_settings, env_settings, _FromFile(settings_cls))
        return (*chain, files) if files else chain


class _FromFile(PydanticBaseSettingsSource):
    """`FAIRSCORE_X_FILE=/run/secrets/x` instead of `FAIRSCORE_X=…`: values that must not stand in an environment."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE") if field_name in FROM_FILE else None
        return (Path(path).read_text().strip() if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def settings(**overrides: Any) -> Settings:
    """Read the settings; `overrides` (from the command line) that are None do not override.

    Raises:
        pydantic.ValidationError: a value is not usable; the message names the setting, never its value.
    """
    return Settings(**{name: value for name, value in overrides.items() if value is not None})
