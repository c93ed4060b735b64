"""The command `fairscore`: what an operator types.

Parses arguments, calls, prints. Everything that does something is imported when its command runs, so that `--help`
answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from relay.cli_boards import boards
from relay.cli_encryption import encryption
from relay.cli_games import games
from relay.cli_indexer import indexer
from relay.cli_keys import keys
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
from relay.cli_verify import verify_proof, verify_roll
from relay.cli_webhooks import webhooks
from relay.errors import StartupError

EPILOG = "Every option has an environment variable FAIRSCORE_<NAME>; FAIRSCORE_CONFIG names a TOML file with the rest."

app = typer.Typer(
    help="Game results that anyone can trust: recompute, sign, record, rank, re-verify.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals can hold keys
    add_completion=False,
)
app.add_typer(indexer, name="indexer")
app.add_typer(keys, name="keys")
app.add_typer(games, name="games")
app.add_typer(boards, name="boards")
app.add_typer(encryption, name="encryption")
app.add_typer(roles, name="roles")
app.add_typer(outbox, name="outbox")
app.add_typer(webhooks, name="webhooks")
app.command()(check)
app.command("verify-proof")(verify_proof)
app.command("verify-roll")(verify_roll)


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
def openapi(
    roles: Annotated[bool, typer.Option("--roles", help="Instead, a table: which role may call what.")] = False,
) -> None:
    """Print the OpenAPI 3.1 document of the whole system, generated from the declarations that validate."""
    from relay.document import openapi_document, roles_document

    typer.echo(roles_document() if roles else openapi_document().decode())
