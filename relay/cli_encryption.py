"""`fairscore encryption`: the payload keys of a game, straight on the database.

Parses arguments, calls, prints. No secret is shown: clients get the key of their own round with its start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from relay.cli_options import DatabaseUrl, Home, console, print_list, read_settings
from relay.config import Settings
from relay.errors import StartupError

if TYPE_CHECKING:
    from relay.store.intake_rows import Connection

encryption = typer.Typer(
    help="Keys under which clients encrypt the reports of their rounds: list, rotate, retire.", no_args_is_help=True
)
GameId = Annotated[str, typer.Argument(help="The game's id.")]


@encryption.command("list")
def listing(game: GameId, home: Home = None, database_url: DatabaseUrl = None) -> None:
    """List a game's keys without their secrets, newest first; the first that is not retired goes with new rounds."""
    from relay.api.pages import rfc3339
    from relay.store.encryption import listed

    table = Table("key", "made", "by", "retired", "by", box=None)
    with _writing(read_settings(home=home, database_url=database_url), game) as (c, _):
        for key in listed(c, game):
            retired = "" if key.retired_at_ms is None else rfc3339(key.retired_at_ms)
            table.add_row(key.id, rfc3339(key.created_at_ms), key.created_by, retired, key.retired_by or "")
    print_list(table)


@encryption.command("rotate")
def rotate(game: GameId, home: Home = None, database_url: DatabaseUrl = None) -> None:
    """Make a new key for new rounds; rounds that were started go on with theirs."""
    from relay.store.encryption import create

    with _writing(read_settings(home=home, database_url=database_url), game) as (c, now_ms):
        made = create(c, game, _actor(), now_ms)
    console.print(f"{made.id} goes with new rounds of {game}; retire the one before when its rounds are over")


@encryption.command("retire")
def retire(
    game: GameId,
    key: Annotated[str, typer.Argument(help="The key's id: ek_…")],
    home: Home = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Let a key open no report any more, at once: for one that leaked, or whose rounds are over."""
    from relay.store.encryption import retire

    with _writing(read_settings(home=home, database_url=database_url), game) as (c, now_ms):
        gone = retire(c, game, key, _actor(), now_ms)
    if gone is None:
        raise StartupError(f"the game {game} has no key {key}: see `fairscore encryption list {game}`")
    console.print(f"{gone.id} opens no report any more")


@contextmanager
def _writing(settings: Settings, game: str) -> Iterator[tuple["Connection", int]]:
    """Yield a transaction and the database's time.

    Raises:
        StartupError: neither the settings nor the database know the game.
    """
    from relay.opening import migrated
    from relay.operate_games import listed

    if game not in {each.game_id for each in listed(settings)}:
        raise StartupError(f"no game {game!r}: see `fairscore games list`")
    with migrated(settings) as database, database.write() as c:
        yield c, database.now_ms(c)


def _actor() -> str:
    return f"cli:{getuser()}"
