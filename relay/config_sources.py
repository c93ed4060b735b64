"""Where settings come from, for every package: one order of sources.

Reads the environment. Order: what the caller gives (command line), `FAIRSCORE_*` variables, `FAIRSCORE_*_FILE` (the
value is in the file it names), then the TOML file named by `FAIRSCORE_CONFIG`.
"""

import os
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from relay.errors import StartupError

PREFIX = "FAIRSCORE_"
HTTP, WEBSOCKET = ("http", "https"), ("ws", "wss")
FROM_FILE = ("database_url", "rpc_url")  # these carry passwords and tokens


class SourcedSettings(BaseSettings):
    """Frozen settings, among them those of both packages; a wrong value is reported by its setting's name only."""

    elsewhere: ClassVar[frozenset[str] | None] = None  # what else may stand in the file; None: anything

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    home: Path = Field(Path(".fairscore"), description="folder of all local state")
    host: str = Field("127.0.0.1", description="interface to listen on")
    indexer_port: int = Field(8001, ge=0, le=65535, description="port of `indexer` when it runs alone")
    database_url: str = Field(
        "", repr=False, description="`sqlite:///file` or `postgresql://…`; empty: a SQLite file in home"
    )
    finality: int = Field(0, ge=0, description="confirmations until `final`; 0: the chain's `finalized` tag, else 12")
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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the sources in the order the module's docstring promises.

        Raises:
            StartupError: `FAIRSCORE_CONFIG` names no TOML file; a typo there must not mean "defaults".
        """
        toml = os.environ.get(f"{PREFIX}CONFIG")
        sources = (init_settings, env_settings, _FromFile(settings_cls))
        return (*sources, _toml(settings_cls, Path(toml))) if toml else sources


def _toml(settings_cls: type[BaseSettings], path: Path) -> TomlConfigSettingsSource:
    try:
        source = TomlConfigSettingsSource(settings_cls, path.resolve(strict=True))
    except OSError as error:
        raise StartupError(f"{PREFIX}CONFIG names {path}, which cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise StartupError(f"{PREFIX}CONFIG names {path}, which is not TOML: {error}") from None
    elsewhere = getattr(settings_cls, "elsewhere", None)
    if elsewhere is not None and (
        unknown := sorted(set(source.toml_data) - set(settings_cls.model_fields) - elsewhere)
    ):
        raise StartupError(f"{PREFIX}CONFIG names {path}, where {unknown[0]!r} is no setting")
    return source


def endpoints(text: str, *schemes: str) -> list[str]:
    """The URLs of a list (commas or spaces between them) with one of these schemes, in its order."""
    return [url for url in text.replace(",", " ").split() if _scheme(url) in schemes]


def checked_endpoints(value: object) -> str:
    """Return the endpoints of the chain, a list or commas between them, as one text.

    Raises:
        ValueError: one is no URL of an endpoint, or all of them only announce blocks.
    """
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    named = text.replace(",", " ").split()
    if len(endpoints(text, *HTTP, *WEBSOCKET)) < len(named):
        raise ValueError("a JSON-RPC endpoint's address begins with http:// or https://, host and port follow")
    if named and not endpoints(text, *HTTP):
        raise ValueError("ws:// and wss:// endpoints only announce new blocks: name one with http:// or https:// too")
    return text


def _scheme(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or half an IPv6 address
        return ""
    return parts.scheme if usable else ""


class _FromFile(PydanticBaseSettingsSource):
    """`FAIRSCORE_X_FILE=/run/secrets/x` instead of `FAIRSCORE_X=…`: values that must not stand in an environment."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE") if field_name in FROM_FILE else None
        return (self._text(field_name, Path(path)) if path else None), field_name, False

    @staticmethod
    def _text(name: str, path: Path) -> str:
        try:
            return path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise StartupError(f"{PREFIX}{name.upper()}_FILE names {path}, which cannot be read ({why})") from None

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}
