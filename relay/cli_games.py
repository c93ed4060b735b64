"""`fairscore games`: the games that are configured while relays run, straight on the database.

Parses arguments, calls, prints.
"""

from typing import Annotated

import typer
from rich.table import Table

from relay.cli_options import DatabaseUrl, Home, console, print_list, read_settings

games = typer.Typer(
    help="Games: list, show, set, origins. Running relays follow within a second.", no_args_is_help=True
)
GameId = Annotated[str, typer.Argument(help="The game's id.")]


@games.command("list")
def listing(home: Home = None, database_url: DatabaseUrl = None) -> None:
    """List all games: ruleset, where they are configured, which version, when and by whom."""
    from relay.operate_games import listed

    table = Table("game", "ruleset", "configured", "since", "by", box=None)
    for game in listed(read_settings(home=home, database_url=database_url)):
        where = "in the settings" if game.version is None else f"version {game.version}"
        table.add_row(game.game_id, str(game.table["ruleset"]), where, game.at, game.actor)
    print_list(table)


@games.command("show")
def show(game: GameId, home: Home = None, database_url: DatabaseUrl = None) -> None:
    """Print a game's settings as JSON."""
    from relay.operate_games import shown

    typer.echo(shown(read_settings(home=home, database_url=database_url), game))


@games.command("set")
def change(
    game: GameId,
    assignments: Annotated[
        list[str] | None,
        typer.Argument(help="key=value as in [games.<id>]: anonymous_submit=true limits.submit-score=30"),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the record of changes.")] = "",
    home: Home = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a game, or change what is named; the rest stays. New rules are published by a relay with the admin's key."""
    from relay.operate_games import change

    console.print(change(read_settings(home=home, database_url=database_url), game, assignments or [], reason))


@games.command("origins")
def origins(
    game: GameId,
    add: Annotated[list[str] | None, typer.Option(help="An origin to allow: https://host, or * for all.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="An origin to allow no longer.")] = None,
    home: Home = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Print the origins whose pages may call a game's operations, after adding and removing."""
    from relay.operate_games import origins

    for origin in origins(read_settings(home=home, database_url=database_url), game, add or [], remove or []):
        console.print(origin, markup=False)
