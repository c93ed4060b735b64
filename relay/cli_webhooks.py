"""The commands `fairscore webhooks …`: list, test, replay, deliver.

Parses arguments, calls, prints. They work on the database, so that they work while no relay answers.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from relay.cli_options import DatabaseUrl, Home, complaints, console, read_settings
from relay.config import Settings
from relay.errors import StartupError

if TYPE_CHECKING:
    from relay.webhooks.hooks import Hook
    from relay.webhooks.operate import Listed

TABLE_WIDTH = 140  # at least, where the output is no terminal

webhooks = typer.Typer(
    help="Webhooks, declared as table webhooks.NAME of the file FAIRSCORE_CONFIG names: list, test, replay, deliver.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="As it is declared: table webhooks.NAME.")]


@webhooks.command("list")
def webhooks_list(home: Home = None, database_url: DatabaseUrl = None) -> None:
    """Show each webhook: address without its path, how far it is, what waits, what was given up."""
    from relay.opening import migrated
    from relay.webhooks.hooks import hooks_of
    from relay.webhooks.operate import listed

    settings = read_settings(home=home, database_url=database_url)
    with migrated(settings) as database:
        found = listed(database, hooks_of(settings.webhooks))
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
    table = Table("name", "address", "state", "sequence", "delivered", "waiting", "dead", "last failure", box=None)
    for each in found:
        table.add_row(*_row(each, now_ms))
    wide = Console(highlight=False, soft_wrap=True, width=max(console.width, TABLE_WIDTH))
    wide.print(table)
    for each in found:
        for dead in each.dead:
            tries = f"given up after {dead.attempts} tries: {dead.error}"
            wide.print(f"{each.name}: sequence {dead.seq} of {dead.submission_id} {tries}", style="dim", markup=False)
    if not found:
        console.print("none: declare one as [webhooks.<name>] with url and secret_file", markup=False)


def _row(each: "Listed", now_ms: int) -> tuple[str, ...]:
    standing = each.standing
    address = each.hook.shown if each.hook is not None else "(not configured)"
    if standing is None:
        return (each.name, address, "never delivered", "", "", "", "", "")
    host = standing.holder.partition(":")[0]
    state = f"delivered by {host}" if standing.expires_at_ms > now_ms else "nobody delivers"
    if standing.disabled_at_ms is not None:
        state = "disabled: 410 (replay enables)"
    failed = "" if standing.failed_at_ms is None else f"{_time(standing.failed_at_ms)} {standing.error}"
    counts = (standing.position, standing.delivered, standing.waiting, standing.dead)
    return (each.name, address, state, *map(str, counts), failed)


@webhooks.command("test")
def webhooks_test(name: Name, home: Home = None) -> None:
    """Send one signed `webhook.test` event now and show the answer; exit code 1 unless the receiver takes it."""
    from relay.webhooks.operate import try_once

    hook = _declared(read_settings(home=home), name)
    answer = try_once(hook)
    console.print(f"{hook.shown}: {answer.detail}", markup=False)
    if not answer.taken:
        complaints.print("a receiver takes an event by answering 2xx in time", style="dim")
        raise typer.Exit(1)


@webhooks.command("replay")
def webhooks_replay(
    name: Name,
    sequence: Annotated[int | None, typer.Option(min=1, help="Tell everything from this sequence on again.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Tell everything since this time (UTC) again."),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Try again what was given up or waits.")] = False,
    home: Home = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Tell events again, with the same ids; a running relay begins within seconds. Enables a disabled webhook."""
    from relay.opening import migrated
    from relay.webhooks.operate import replay

    since_ms = None if since is None else int(since.replace(tzinfo=UTC).timestamp() * 1000)
    with migrated(read_settings(home=home, database_url=database_url)) as database:
        console.print(replay(database, name, sequence=sequence, since_ms=since_ms, dead=dead), markup=False)


@webhooks.command("deliver")
def webhooks_deliver(home: Home = None, database_url: DatabaseUrl = None) -> None:
    """Deliver in this process until a signal: for relays started with FAIRSCORE_DELIVER_WEBHOOKS=false."""
    from relay import logs
    from relay.opening import migrated
    from relay.webhooks.hooks import hooks_of
    from relay.webhooks.operate import deliver_until_signal

    settings = read_settings(home=home, database_url=database_url)
    logs.configure(settings.log_level)
    hooks = hooks_of(settings.webhooks)
    if not hooks:
        raise StartupError("no webhook is configured: declare one as [webhooks.<name>] with url and secret_file")
    with migrated(settings):
        pass
    deliver_until_signal(settings.database, hooks)


def _declared(settings: Settings, name: str) -> "Hook":
    from relay.webhooks.hooks import hooks_of

    found = {hook.name: hook for hook in hooks_of(settings.webhooks)}
    if name not in found:
        known = ", ".join(found) or "none"
        raise StartupError(f"no webhook {name!r} is configured (known: {known})")
    return found[name]


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
