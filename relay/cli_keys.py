"""`fairscore keys`: API keys, straight on the database.

Parses arguments, calls, prints.
"""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from relay.cli_options import DatabaseUrl, Home, complaints, console, print_list, read_settings
from relay.errors import CallerError

HOUR_MS = 3_600_000

keys = typer.Typer(help="API keys: create, list, rotate, revoke. Only hashes are stored.", no_args_is_help=True)
Key = Annotated[str, typer.Argument(help="Its id, or its whole prefix as `list` shows it.")]


@keys.command("create")
def create(
    role: Annotated[str, typer.Option(help="server, client (publishable), auditor or admin.")],
    name: Annotated[str, typer.Option(help="What it is for; shown in the list.")] = "",
    game: Annotated[str | None, typer.Option(help="The one game it is good for.  [default: every game]")] = None,
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Days until it expires.  [default: never]")
    ] = None,
    home: Home = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Create a key and print it, once: only its hash is stored."""
    from relay.opening import key_store

    expires_at_ms = None if expires_days is None else int((time.time() + expires_days * 86_400) * 1000)
    with key_store(read_settings(home=home, database_url=database_url)) as store:
        try:
            made = store.create(role, game_id=game, name=name, expires_at_ms=expires_at_ms)
        except ValueError as wrong:
            raise typer.BadParameter(str(wrong)) from None
    _show_once(made.secret, made.info.id)


@keys.command("list")
def listing(home: Home = None, database_url: DatabaseUrl = None) -> None:
    """List all keys: prefix, role, game, when created, last used, expired or revoked."""
    from relay.opening import key_store

    table = Table("id", "prefix", "role", "game", "name", "created", "last used", "state", box=None)
    with key_store(read_settings(home=home, database_url=database_url)) as store:
        for key in store.list():
            state = key.state(int(time.time() * 1000))
            if state == "active" and key.expires_at_ms is not None:
                state = f"until {_day(key.expires_at_ms)}"
            columns = (key.id, f"{key.prefix}…", key.role, key.game_id or "every", key.name)
            table.add_row(*columns, _day(key.created_at_ms), _day(key.last_used_at_ms), state)
    print_list(table)


@keys.command("rotate")
def rotate(
    key: Key,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=2_160, help="How long the key stays valid beside its successor.")
    ] = 24,
    home: Home = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key's successor, with the same role and game, and print it, once; the key ends after the overlap."""
    from relay.opening import key_store

    with key_store(read_settings(home=home, database_url=database_url)) as store:
        try:
            made = store.rotate(key, int(overlap_hours * HOUR_MS))
        except CallerError as refused:
            raise typer.BadParameter(refused.detail) from None
    _show_once(made.secret, made.info.id)


@keys.command("revoke")
def revoke(key: Key, home: Home = None, database_url: DatabaseUrl = None) -> None:
    """Revoke a key; running relays refuse it within a second."""
    from relay.opening import key_store

    with key_store(read_settings(home=home, database_url=database_url)) as store:
        if not store.revoke(key):
            raise typer.BadParameter(f"no active key {key!r}: see `fairscore keys list`")
    console.print(f"revoked {key}")


def _show_once(secret: str, key_id: str) -> None:
    typer.echo(secret)
    complaints.print(f"{key_id}: store it now, it cannot be shown again", style="dim")


def _day(at_ms: int | None) -> str:
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
