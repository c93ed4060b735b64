"""The commands around keys on the chain: `fairscore signer` and `fairscore roles`.

Parses arguments, calls, prints.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from relay.cli_options import Contract, DevKeys, Home, Host, RpcUrl, console, read_settings

roles = typer.Typer(
    help="Roles on the contract: list, grant, revoke. A new key needs its role before it is used.", no_args_is_help=True
)

Role = Annotated[str, typer.Argument(help="signer (attestation keys), auditor or guardian.")]
Account = Annotated[str, typer.Argument(help="Address of the key: 0x and 40 hex digits.")]
AdminKeyFile = Annotated[Path | None, typer.Option(help="The admin's key, which pays for the transaction.")]


def signer(
    chain_id: Annotated[int | None, typer.Option(help="The one chain it signs for.")] = None,
    contract: Annotated[str | None, typer.Option(help="The one contract it signs for.")] = None,
    host: Host = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  [default: 9000]")] = None,
    home: Home = None,
) -> None:
    """Hold keys for relays elsewhere (web3signer's HTTP interface), and sign only what a relay has to sign.

    Keys come from FAIRSCORE_ATTESTATION_KEY_FILE, FAIRSCORE_GAS_KEY_FILE and FAIRSCORE_AUDITOR_KEY_FILE; a relay names
    it in FAIRSCORE_ATTESTATION_SIGNER, FAIRSCORE_GAS_SIGNER or FAIRSCORE_AUDITOR_SIGNER.
    """
    from relay.signer_server import serve_signer

    serve_signer(read_settings(chain_id=chain_id, contract=contract, host=host, signer_port=port, home=home))


@roles.command("list")
def roles_list(home: Home = None, rpc_url: RpcUrl = None, contract: Contract = None, dev_keys: DevKeys = False) -> None:
    """Show who holds which role on the contract, and which of them are this relay's keys."""
    from relay.roles import list_roles

    table = Table("role", "address", "key here", box=None)
    for holder in list_roles(read_settings(home=home, rpc_url=rpc_url, contract=contract), dev_keys=dev_keys):
        table.add_row(*holder)
    console.print(table)


@roles.command("grant")
def roles_grant(
    role: Role,
    account: Account,
    admin_key_file: AdminKeyFile = None,
    home: Home = None,
    rpc_url: RpcUrl = None,
    contract: Contract = None,
    dev_keys: DevKeys = False,
) -> None:
    """Give a key its role. A running relay whose key file was replaced takes the new key within seconds."""
    from relay.roles import grant_role

    found = read_settings(home=home, rpc_url=rpc_url, contract=contract, admin_key_file=admin_key_file)
    done = grant_role(found, role, account, dev_keys=dev_keys)
    console.print(f"{account} {'now has' if done else 'already had'} the {role} role")


@roles.command("revoke")
def roles_revoke(
    role: Role,
    account: Account,
    admin_key_file: AdminKeyFile = None,
    home: Home = None,
    rpc_url: RpcUrl = None,
    contract: Contract = None,
    dev_keys: DevKeys = False,
) -> None:
    """Take a role away. What a signer signed and is not on the chain yet is worth nothing from then on."""
    from relay.roles import revoke_role

    found = read_settings(home=home, rpc_url=rpc_url, contract=contract, admin_key_file=admin_key_file)
    done = revoke_role(found, role, account, dev_keys=dev_keys)
    console.print(f"{account} {'no longer has' if done else 'has not'} the {role} role")
