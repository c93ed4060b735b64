"""`fairscore indexer`: starts it; and its commands, which work while none runs.

Parses arguments, calls, prints.
"""

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from relay.cli_options import Contract, DatabaseUrl, Home, Host, Port, RpcUrl, complaints, console, read_settings

indexer = typer.Typer(help="Start the indexer alone; or make its standings again.", invoke_without_command=True)


@indexer.callback()
def start(
    context: typer.Context,
    home: Home = None,
    host: Host = None,
    port: Port = None,
    rpc_url: RpcUrl = None,
    database_url: DatabaseUrl = None,
    contract: Contract = None,
) -> None:
    """Start the indexer alone: it follows the contract, ranks, and streams. It needs no key."""
    if context.invoked_subcommand is not None:
        if any(value is not None for value in context.params.values()):
            raise typer.BadParameter(f"options of `{context.invoked_subcommand}` stand behind it")
        return
    from relay.run import serve

    found = read_settings(
        home=home, host=host, indexer_port=port, rpc_url=rpc_url, database_url=database_url, contract=contract
    )
    serve(found, ("indexer",), dev_keys=False)


@indexer.command("rebuild")
def rebuild(
    from_chain: Annotated[
        bool, typer.Option("--from-chain", help="Forget the stored scores, too, and read the chain again.")
    ] = False,
    home: Home = None,
    rpc_url: RpcUrl = None,
    database_url: DatabaseUrl = None,
    contract: Contract = None,
) -> None:
    """Make all standings again and compare them with what they were; exit code 1 if a byte differs.

    From the scores that are stored, or with --from-chain from nothing. Stop indexers of this database before.
    """
    from relay.reindex import reindex

    found = read_settings(home=home, rpc_url=rpc_url, database_url=database_url, contract=contract)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=complaints) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        compared = reindex(found, from_chain=from_chain, progress=progress)
    read = "" if compared.block is None else f", the chain read up to block {compared.block}"
    console.print(f"before  {compared.before.sha256}  {compared.before.standings} standings", markup=False)
    console.print(f"after   {compared.after.sha256}  {compared.after.standings} standings", markup=False)
    if not compared.identical:
        console.print("different: what was stored before was not what the chain says", style="bold red")
        raise typer.Exit(1)
    console.print(f"identical: {compared.after.boards} boards{read}", style="green")
