"""The commands of whoever keeps it running: `fairscore check` and `fairscore outbox …`.

Parses arguments, calls, prints. `outbox` works on the database, so that it works while no relay answers.
"""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from relay.cli_options import Contract, DatabaseUrl, DevKeys, Home, RpcUrl, console, read_settings

TABLE_WIDTH = 120  # at least, where the output is no terminal
MARKS = {"ok": "[green]✓[/]", "note": "[yellow]![/]", "failed": "[bold red]✗[/]", "skipped": "[dim]-[/]"}

outbox = typer.Typer(
    help="What is on its way to the chain: show it, pause and resume keys, void nonces, retry parked scores.",
    no_args_is_help=True,
)

Address = Annotated[str, typer.Argument(help="Of the sending key, as `show` prints it.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the record of actions.")]
ChainId = Annotated[int | None, typer.Option(help="Where the database knows several chains.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON document instead of a table.")]


def check(
    home: Home = None,
    rpc_url: RpcUrl = None,
    database_url: DatabaseUrl = None,
    contract: Contract = None,
    dev_keys: DevKeys = False,
    as_json: AsJson = False,
) -> None:
    """Prove that a relay with these settings would work, or say what to do. Changes nothing; exit code 1 on failure.

    Looks at endpoints, chain, contract, roles, rules, balances, keys, database and clock.
    """
    from relay.check import check as look
    from relay.findings import passed

    found = read_settings(home=home, rpc_url=rpc_url, database_url=database_url, contract=contract)
    findings = look(found, dev_keys=dev_keys)
    fine = passed(findings)
    if as_json:
        lines = [{"check": f.check, "state": f.state.value, "seen": f.seen, "todo": f.todo} for f in findings]
        typer.echo(json.dumps({"ok": fine, "checks": lines}, indent=1, ensure_ascii=False))
    else:
        table = Table("", "check", "seen", "what to do", box=None, pad_edge=False)
        for f in findings:
            table.add_row(MARKS[f.state.value], f.check, f.seen, f.todo)
        _print(table)
        console.print("\nready" if fine else "\nnot ready", style="green" if fine else "bold red")
    if not fine:
        raise typer.Exit(1)


@outbox.command("show")
def outbox_show(
    home: Home = None, database_url: DatabaseUrl = None, chain_id: ChainId = None, as_json: AsJson = False
) -> None:
    """Show how much waits in each state, what each key has under way, what is parked, and what operators did."""
    from relay.operate import show, shown

    found = show(read_settings(home=home, database_url=database_url), chain_id)
    if as_json:
        typer.echo(shown(found))
        return
    states = Table("state", "scores", "oldest", box=None, pad_edge=False)
    for state in found.states:
        states.add_row(state.state, str(state.count), "" if state.oldest_age_s is None else f"{state.oldest_age_s} s")
    _print(states)
    for key in found.keys:
        led = f"sent by {key.holder}" if key.leads else "no process sends with it now"
        console.print(f"\n{key.address}  {led}", style="bold", markup=False)
        for stuck in key.stuck:
            console.print(f"stuck: {stuck.detail}", style="red", markup=False)
        if key.paused is not None:
            console.print(f"paused since {key.paused.at} by {key.paused.by}: {key.paused.reason}", markup=False)
        nonces = Table("nonce", "state", "carries", "age", "transactions (newest last)", box=None, pad_edge=False)
        for nonce in key.in_flight:
            void = ", to be voided" if nonce.void_requested_at else ""
            tried = "\n".join(one.tx_hash + (" (void)" if one.void else "") for one in nonce.attempts)
            nonces.add_row(
                str(nonce.nonce), nonce.state + void, f"{nonce.size} {nonce.kind}", f"{nonce.age_s} s", tried
            )
        if key.in_flight:
            _print(nonces)
    for title, lines in (
        ("parked", [f"{one.submission_id}  {one.reason}  since {one.since}" for one in found.parked]),
        ("revocations", [f"{one.count} {one.state} since {one.oldest_asked_at}" for one in found.revocations]),
        ("actions", [f"{one.at}  {one.actor}  {one.action} {one.subject}: {one.reason}" for one in found.actions]),
    ):
        if lines:
            console.print(f"\n{title}", style="bold")
            console.print("\n".join(lines), markup=False)


@outbox.command("pause")
def outbox_pause(
    address: Address, reason: Reason, home: Home = None, database_url: DatabaseUrl = None, chain_id: ChainId = None
) -> None:
    """Let a key sign and broadcast nothing, in whichever process it runs; what is under way is still settled."""
    from relay.operate import pause

    console.print(pause(read_settings(home=home, database_url=database_url), chain_id, address, reason), markup=False)


@outbox.command("resume")
def outbox_resume(
    address: Address, reason: Reason, home: Home = None, database_url: DatabaseUrl = None, chain_id: ChainId = None
) -> None:
    """Let a paused key send again."""
    from relay.operate import resume

    console.print(resume(read_settings(home=home, database_url=database_url), chain_id, address, reason), markup=False)


@outbox.command("void")
def outbox_void(
    address: Address,
    nonce: Annotated[int, typer.Argument(min=0, help="Of a transaction that is in no block.")],
    reason: Reason,
    home: Home = None,
    database_url: DatabaseUrl = None,
    chain_id: ChainId = None,
) -> None:
    """Use a stuck nonce up by a transaction of the key to itself; its scores go with another nonce after that."""
    from relay.operate import void

    found = read_settings(home=home, database_url=database_url)
    console.print(void(found, chain_id, address, nonce, reason), markup=False)


@outbox.command("retry")
def outbox_retry(
    submission_id: Annotated[str, typer.Argument(help="Of a parked score, as `show` prints it.")],
    reason: Reason,
    home: Home = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Let a score that the contract refused be tried again."""
    from relay.operate import retry

    console.print(retry(read_settings(home=home, database_url=database_url), submission_id, reason), markup=False)


def _print(table: Table) -> None:
    """Print a table whole: in a narrow terminal its cells are folded, elsewhere nothing is."""
    width = console.width if console.is_terminal else max(console.width, TABLE_WIDTH)
    Console(highlight=False, width=width).print(table)
