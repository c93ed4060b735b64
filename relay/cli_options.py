"""What the commands of `fairscore` share: options, consoles, and how settings are read.

Writes to the terminal. Imports nothing heavy, so that `--help` answers at once.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.table import Table

from relay.config import Settings, settings
from relay.errors import StartupError

Home = Annotated[Path | None, typer.Option(help="Folder of all local state.  [default: ./.fairscore]")]
Host = Annotated[str | None, typer.Option(help="Interface to listen on.  [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.  [default: 8000; indexer alone: 8001]")]
RpcUrl = Annotated[
    str | None, typer.Option(help="JSON-RPC of the chain; several: commas between.  [default: the embedded chain]")
]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="sqlite:///file or postgresql://…  [default: a SQLite file in home]")
]
Contract = Annotated[str | None, typer.Option(help="Address of Leaderboard.  [default: deployed once, remembered]")]
DevKeys = Annotated[
    bool, typer.Option("--dev-keys", help="Use the well-known test keys; refused unless the chain id is 31337.")
]

LIST_WIDTH = 160

console = Console(highlight=False, soft_wrap=True)
complaints = Console(stderr=True, highlight=False, soft_wrap=True)


def print_list(table: Table) -> None:
    """Print a list of which nothing is cut off, however narrow the terminal: other commands take what it shows."""
    Console(highlight=False, soft_wrap=True, width=max(console.width, LIST_WIDTH)).print(table)


def read_settings(**overrides: Any) -> Settings:
    """Return the settings; one that cannot be used is named on standard error, with exit code 2."""
    try:
        return settings(**overrides)
    except ValidationError as wrong:
        for error in wrong.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in error["loc"]).upper()
            complaints.print(f"FAIRSCORE_{name}: {error['msg'].removeprefix('Value error, ')}", markup=False)
        raise typer.Exit(2) from None
    except SettingsError as wrong:  # its text names field and source, and quotes nothing
        raise StartupError(f"a setting that is a table must be JSON in the environment: {wrong}") from None
