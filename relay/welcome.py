"""What the terminal says when the system is ready: what to open, and lines to paste from any folder.

Touches the console it is given.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from relay.home import DEVNET_NAME

# 45 perfect, 12 good, 3 miss, combo 42: (10 + 42)/10 x (10 x 45 + 5 x 12) = 2652. 5420 is what a cheat would like.
PLAY = {"perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30000}
HONEST, CHEAT = 2652, 5420
JSON_TYPE = "-H 'Content-Type: application/json'"


def curl(url: str, player: str, game_id: str, score: int) -> str:
    """Return a complete line that submits the example play with `score` as its claim."""
    body = json.dumps(
        {"playerAddress": player, "gameId": game_id, "scoreData": {"score": score, **PLAY}}, separators=(",", ":")
    )
    return f"curl -s -X POST {url}/api/submit-score -H 'Content-Type: application/json' -d '{body}'"


def tournament_round(url: str, tournament: str, home: Path) -> str:
    """Return a line that plays a round as escs documents it: start, report, confirmation by the game's server."""
    play = json.dumps({"score": HONEST, **PLAY}, separators=(",", ":"))
    secret = _of_devnet("gameServerSecret", home)
    start = f"""curl -s -X POST $T/rounds {JSON_TYPE} -d '{{"playerId":"5f158719c9e95137883b8b7c"}}'"""
    return "; ".join(
        (
            f"T={url}/tournaments/{tournament}",
            f"""R=$({start} | sed 's/.*"_id":"\\([0-9a-f]*\\)".*/\\1/')""",
            f"curl -s -X POST $T/rounds/$R/end {JSON_TYPE} -d '{play}'",
            f"""curl -s -X PUT $T/rounds/$R/game-server-confirmation -H "escs-game-secret-key: {secret}" """
            f"""{JSON_TYPE} -d '{{"isValid":true,"score":{HONEST}}}'""",
        )
    )


def first_grant(url: str, game_id: str, home: Path) -> str:
    """Return a line that founds an economy as the game's server does: a currency, a player, what the player gets."""
    headers = f"""-H "Authorization: Bearer {_of_devnet("server", home)}" {JSON_TYPE}"""
    asked = (
        ("currencies", {"currencyId": "gold", "name": "Gold", "icon": "coin"}),
        ("players", {"externalId": "ann"}),
        ("grant", {"externalId": "ann", "currencyId": "gold", "amount": 100}),
    )
    said = (f"""e {path} '{json.dumps(body, separators=(",", ":"))}'""" for path, body in asked)
    call = f"""e() {{ curl -s -X POST "{url}/api/economy/$1?gameId={game_id}" {headers} -d "$2"; echo; }}"""
    return "; ".join((call, *said))


def _of_devnet(name: str, home: Path) -> str:
    """Return what a shell reads a value of `devnet.json` with, in whatever folder."""
    file = shlex.quote(str((home / DEVNET_NAME).absolute()))
    return f"""$(sed -n 's/.*"{name}": "\\([^"]*\\)".*/\\1/p' {file})"""


def greet(
    console: Console,
    url: str,
    player: str,
    game_id: str,
    facts: list[tuple[str, str]],
    *,
    page: bool,
    to_try: Sequence[tuple[str, str]] = (),
) -> None:
    """Print where to go. `facts` are further (name, value) lines; `page` says whether one is served.

    `player` is an address for the lines to paste; empty where no score is taken: then there are none. `to_try` are
    further lines to paste, each with what it does.
    """
    console.print(Rule("[bold green]Fairscore is ready[/]", style="green"))
    if page:
        console.print(f"  [bold]leaderboard[/]  [link={url}/]{url}/[/]")
        console.print(f"  [bold]economy[/]      [link={url}/economy]{url}/economy[/]")
    console.print(f"  [bold]API[/]          [link={url}/docs]{url}/docs[/]")
    for name, value in facts:
        console.print(f"  [bold]{name:<11}[/]  {escape(value)}")
    if player:
        console.print("\n  submit a valid score:\n")
        console.print(f"  [cyan]{escape(curl(url, player, game_id, HONEST))}[/]")
        console.print("\n  try to cheat (refused, with every check that was made):\n")
        console.print(f"  [yellow]{escape(curl(url, player, game_id, CHEAT))}[/]\n")
    for what, line in to_try:
        console.print(f"  {escape(what)}:\n")
        console.print(f"  [cyan]{escape(line)}[/]\n")
    console.print("  stop with Ctrl-C", style="dim")
