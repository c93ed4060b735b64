"""`fairscore verify-proof` and `verify-roll`: for anybody who holds a proof and does not trust the relay.

Parses arguments, calls, prints.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from relay.cli_options import Contract, Home, RpcUrl, console, read_settings
from relay.cli_outbox import MARKS, AsJson

if TYPE_CHECKING:
    from relay.findings import Finding

WIDTH = 120  # at least, where the output is no terminal

ProofFile = Annotated[Path, typer.Argument(help="JSON as GET /api/economy/proofs/{transactionId} answers it.")]
RollFile = Annotated[Path, typer.Argument(help="JSON as GET /api/economy/randomness/{rollId} answers it.")]
Root = Annotated[
    list[str] | None, typer.Option(help="A tree head (0x and 64 hex digits) that you know to be anchored; repeatable.")
]


def verify_proof(
    file: ProofFile,
    rpc_url: RpcUrl = None,
    contract: Contract = None,
    root: Root = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Prove that a transaction is in an anchored ledger, or that a later ledger begins with an earlier one.

    Asks the chain and nothing else; name an endpoint and a contract that you trust. Exit code 1: it is not proved.
    """
    from relay.verify_proof import verify_file

    found = read_settings(home=home, rpc_url=rpc_url, contract=contract)
    show(verify_file(file, found, tuple(_word(one, "--root") for one in root or ())), "proved", as_json=as_json)


def verify_roll(
    file: RollFile,
    commitment: Annotated[
        str | None, typer.Option(help="SHA-256 of the epoch's seed, as you saw it published before the roll.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute the outcome of a craft or a loot roll again, from its seed. Exit code 1: it is not what was published.

    Asks nobody: the published document holds all it takes. With --commitment the seed is held against your own record.
    It proves what came out; who got it is in the ledger: verify-proof of its transactionId.
    Proved are game, roll, client seed, rules and outputs. Who got them is in the ledger: prove its transaction with
    verify-proof, whose detail names the roll.
    """
    from relay.verify_roll import verify_file

    known = None if commitment is None else "0x" + _word(commitment, "--commitment").hex()
    show(verify_file(file, known), "proved", as_json=as_json)


def show(findings: Sequence["Finding"], word: str, *, as_json: bool) -> None:
    """Print what was found, one line for each step; exit code 1 unless every step is ok, so that `word` may be said."""
    from relay.findings import State

    fine = all(finding.state is State.OK for finding in findings)
    if as_json:
        lines = [{"check": f.check, "state": f.state.value, "seen": f.seen, "todo": f.todo} for f in findings]
        typer.echo(json.dumps({"ok": fine, "checks": lines}, indent=1, ensure_ascii=False))
    else:
        table = Table("", "check", "seen", "what to do", box=None, pad_edge=False)
        for f in findings:
            table.add_row(MARKS[f.state.value], f.check, escape(f.seen), escape(f.todo))
        Console(highlight=False, soft_wrap=True, width=max(console.width, WIDTH)).print(table)
        console.print(f"\n{word}" if fine else f"\nnot {word}", style="green" if fine else "bold red")
    if not fine:
        raise typer.Exit(1)


def _word(text: str, option: str) -> bytes:
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", text):
        raise typer.BadParameter("it is 0x and 64 hex digits", param_hint=option)
    return bytes.fromhex(text[2:])
