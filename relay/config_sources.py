"""Where settings come from, for every package: one order of sources.

Reads the environment. Order: what the caller gives (command line), `FAIRSCORE_*` variables, `FAIRSCORE_*_FILE` (the
value is in the file it names), then the TOML file named by `FAIRSCORE_CONFIG`.
"""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

PREFIX = "FAIRSCORE_"
FROM_FILE = ("database_url", "rpc_url")  # these carry passwords and tokens


class SourcedSettings(BaseSettings):
    """Frozen settings; a wrong value is reported by the setting's name, never by the value."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

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
            FileNotFoundError: `FAIRSCORE_CONFIG` names no file; a typo there must not mean "defaults".
        """
        toml = os.environ.get(f"{PREFIX}CONFIG")
        if toml and not Path(toml).is_file():
            raise FileNotFoundError(f"{PREFIX}CONFIG names {toml}, which is not a file")
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
