"""`fairscore boards`: the boards that are configured while the system runs, straight on the database.

Parses arguments, calls, prints.
"""

from typing import Annotated

import typer
from rich.table import Table

from relay.cli_options import DatabaseUrl, Home, console, print_list, read_settings

boards = typer.Typer(help="Boards: list, set, delete. They are made anew from all scores.", no_args_is_help=True)
GameId = Annotated[str, typer.Argument(help="The game's id.")]
Board = Annotated[str, typer.Argument(help="The board's name.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the record of changes.")]


@boards.command("list")
def listing(home: Home = None, database_url: DatabaseUrl = None) -> None:
    """List all boards: how they rank, where they are configured, whether they are ready."""
    from relay.operate_boards import boards as every

    table = Table("game", "board", "operator", "order", "ties", "season", "capacity", "configured", "state", box=None)
    for shown in every(read_settings(home=home, database_url=database_url)):
        config, capacity = shown.config, str(shown.config.capacity or "")
        where = "in the settings" if shown.origin == "file" else "here"
        ranked = (config.operator, config.order, config.ties, config.season, capacity)
        table.add_row(shown.game_id, config.name, *map(str, ranked), where, shown.state)
    print_list(table)


@boards.command("set")
def change(
    game: GameId,
    board: Board,
    assignments: Annotated[
        list[str] | None,
        typer.Argument(help="key=value: operator=sum season=weekly capacity=100 order=asc"),
    ] = None,
    reason: Reason = "",
    home: Home = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a board, or make it another one; what is not named is as on `default`."""
    from relay.operate_boards import change

    found = read_settings(home=home, database_url=database_url)
    console.print(change(found, game, board, assignments or [], reason), markup=False)


@boards.command("delete")
def delete(
    game: GameId, board: Board, reason: Reason = "", home: Home = None, database_url: DatabaseUrl = None
) -> None:
    """Remove a board with its standings; the scores stay."""
    from relay.operate_boards import delete

    console.print(delete(read_settings(home=home, database_url=database_url), game, board, reason), markup=False)
