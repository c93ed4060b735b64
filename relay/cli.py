"""The command `fairscore`: what an operator types.

Parses arguments, calls, prints. Everything that does something is imported when its command runs, so that `--help`
answers at once.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from relay.cli_indexer import indexer
from relay.cli_options import (
    Contract,
    DatabaseUrl,
    DevKeys,
    Home,
    Host,
    Port,
    RpcUrl,
    complaints,
    console,
    read_settings,
)
from relay.cli_outbox import check, outbox
from relay.cli_signing import roles, signer
from relay.cli_webhooks import webhooks
from relay.errors import StartupError

EPILOG = "Every option has an environment variable FAIRSCORE_<NAME>; FAIRSCORE_CONFIG names a TOML file with the rest."

LIST_WIDTH = 160

app = typer.Typer(
    help="Game results that anyone can trust: recompute, sign, record, rank, re-verify.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals can hold keys
    add_completion=False,
)
keys = typer.Typer(help="API keys: create, list, revoke. Only hashes are stored.", no_args_is_help=True)
app.add_typer(indexer, name="indexer")
app.add_typer(keys, name="keys")
app.add_typer(roles, name="roles")
app.add_typer(outbox, name="outbox")
app.add_typer(webhooks, name="webhooks")
app.command()(check)


def main() -> None:
    """Run the command line; a refusal is one sentence on standard error and exit code 2, never a traceback."""
    try:
        app()
    except (StartupError, FileNotFoundError, PermissionError) as refusal:
        complaints.print(f"[bold red]fairscore:[/] {escape(str(refusal))}", markup=True)
        raise SystemExit(2) from None


@app.command()
def run(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    rpc_url: RpcUrl = None,
    database_url: DatabaseUrl = None,
    contract: Contract = None,
    dev_keys: DevKeys = False,
) -> None:
    """Start the whole system in one process: relay, indexer, page, and without --rpc-url an embedded chain.

    Prints what to open and a curl line that works. Ready when GET /health/ready answers 200.
    """
    from relay.run import serve

    found = read_settings(
        home=home, host=host, port=port, rpc_url=rpc_url, database_url=database_url, contract=contract
    )
    serve(found, ("relay", "indexer"), dev_keys=dev_keys)


@app.command()
def relay(
    home: Home = None,
    host: Host = None,
    port: Port = None,
    rpc_url: RpcUrl = None,
    database_url: DatabaseUrl = None,
    contract: Contract = None,
    dev_keys: DevKeys = False,
) -> None:
    """Start the relay alone, against a real chain: it decides, signs and sends."""
    from relay.run import serve

    found = read_settings(
        home=home, host=host, port=port, rpc_url=rpc_url, database_url=database_url, contract=contract
    )
    serve(found, ("relay",), dev_keys=dev_keys)


app.command()(signer)


@app.command()
def deploy(
    rpc_url: RpcUrl = None,
    admin_key_file: Annotated[
        Path | None, typer.Option(help="Key that pays for the deployment and becomes admin.")
    ] = None,
    attestation_key_file: Annotated[Path | None, typer.Option(help="Key whose signatures record scores.")] = None,
    guardian: Annotated[str, typer.Option(help="Address that may pause.  [default: the admin]")] = "",
    auditor: Annotated[str, typer.Option(help="Address that may invalidate scores.  [default: the admin]")] = "",
    home: Home = None,
    dev_keys: DevKeys = False,
) -> None:
    """Deploy Leaderboard on any chain, check its code and roles there, and remember its address in home."""
    from relay.commands import deploy_once

    found = read_settings(
        home=home, rpc_url=rpc_url, admin_key_file=admin_key_file, attestation_key_file=attestation_key_file
    )
    deployment = deploy_once(found, guardian=guardian, auditor=auditor, dev_keys=dev_keys)
    console.print(f"contract  {deployment.contract}  (block {deployment.block_number})")
    for line in deployment.roles:
        console.print(line)
    console.print("checked: the code on chain is this program's, and every role above is held", style="green")
    console.print(f"\nnext: FAIRSCORE_CONTRACT={deployment.contract} fairscore relay", style="dim")


@app.command()
def migrate(
    database_url: DatabaseUrl = None,
    home: Home = None,
    create: Annotated[
        str, typer.Option(help="For developers: write a migration to the declared schema, and say why.")
    ] = "",
) -> None:
    """Bring the database to this program's version. `run`, `relay` and `indexer` do it by themselves at start."""
    from relay.opening import migrate_once

    for line in migrate_once(read_settings(database_url=database_url, home=home), create):
        console.print(line)


@app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the whole system, generated from the declarations that validate."""
    from relay.document import openapi_document

    typer.echo(openapi_document().decode())


@keys.command("create")
def keys_create(
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
    typer.echo(made.secret)
    complaints.print(f"{made.info.id}: store it now, it cannot be shown again", style="dim")


@keys.command("list")
def keys_list(home: Home = None, database_url: DatabaseUrl = None) -> None:
    """List all keys: prefix, role, game, when created, last used, expired or revoked."""
    from relay.opening import key_store

    table = Table("id", "prefix", "role", "game", "name", "created", "last used", "state", box=None)
    with key_store(read_settings(home=home, database_url=database_url)) as store:
        for key in store.list():
            state = "revoked" if key.revoked_at_ms else f"until {_day(key.expires_at_ms)}" if key.expires_at_ms else ""
            columns = (key.id, f"{key.prefix}…", key.role, key.game_id or "every", key.name)
            table.add_row(*columns, _day(key.created_at_ms), _day(key.last_used_at_ms), state or "active")
    # Nothing is cut off, however narrow the terminal: id and prefix are what `revoke` takes.
    Console(highlight=False, soft_wrap=True, width=max(console.width, LIST_WIDTH)).print(table)


@keys.command("revoke")
def keys_revoke(
    key: Annotated[str, typer.Argument(help="Its id, or its whole prefix as `list` shows it.")],
    home: Home = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke a key; running relays refuse it within a second."""
    from relay.opening import key_store

    with key_store(read_settings(home=home, database_url=database_url)) as store:
        if not store.revoke(key):
            raise typer.BadParameter(f"no active key {key!r}: see `fairscore keys list`")
    console.print(f"revoked {key}")


def _day(at_ms: int | None) -> str:
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
