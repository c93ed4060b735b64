"""Every setting of the relay, read once into one frozen object.

Reads the environment, through `relay.config_sources`.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from relay.client_address import Proxies
from relay.config_sources import HTTP, WEBSOCKET, SourcedSettings, checked_endpoints, endpoints
from relay.outbox.fees import FeeKind


class Settings(SourcedSettings):
    """What an operator may decide. The README's table is checked against these descriptions."""

    port: int = Field(8000, ge=0, le=65535, description="port of `run` and `relay`")
    rpc_url: str = Field(
        "",
        repr=False,
        description="JSON-RPC of the chain; several: commas between, best first; `ws://…` ones beside them announce "
        "new blocks to the indexer; empty: the embedded chain (`run`)",
    )
    rpc_batch: int = Field(50, ge=1, le=1000, description="RPC calls in one request; halved where an endpoint refuses")
    rpc_rate: float = Field(0, ge=0, description="RPC calls a second to each endpoint at most; 0: no limit")
    rpc_timeout_s: float = Field(10, gt=0, le=120, description="how long an endpoint's answer is waited for")
    contract: str = Field("", description="address of Leaderboard; empty: deployed once, remembered in home")
    start_block: int = Field(0, ge=0, description="block of the deployment, when FAIRSCORE_CONTRACT is set")
    admin_key_file: Path | None = Field(None, description="key that deploys and publishes rules")
    attestation_key_file: Path | None = Field(None, description="key that signs what was computed")
    gas_key_file: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="keys that send transactions and pay for them: files (comma between them) or a folder of them"
    )
    auditor_key_file: Path | None = Field(None, description="key with the auditor role: sends revocations")
    key_password_file: Path | None = Field(None, description="password of key files in keystore format (V3)")
    attestation_signer: str = Field(
        "", repr=False, description="remote signer of that key instead: `https://host#0xaddress`"
    )
    gas_signer: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        repr=False,
        description="remote signers of gas keys (comma between them); without `#0xaddress`: all keys it holds",
    )
    auditor_signer: str = Field("", repr=False, description="remote signer of the auditor key")
    signer_port: int = Field(9000, ge=0, le=65535, description="port of `signer`")
    chain_id: int = Field(0, ge=0, description="chain that `signer` signs for; it asks none")
    signer_token_file: Path | None = Field(None, description="bearer token that `signer` asks for and `relay` shows")
    poll_ms: int = Field(0, ge=0, description="how often the chain is asked for news; 0: four times per block")
    batch_size: int = Field(500, ge=1, le=500, description="scores per transaction at most")
    batch_wait_ms: int = Field(
        0,
        ge=0,
        description="how long a score waits for company; 0: a block's time, 0.25 to 12 s (0.25 on test chains)",
    )
    in_flight: int = Field(16, ge=1, le=64, description="transactions per key that are in no block yet, at most")
    fees: FeeKind = Field("auto", description="`eip1559`, `legacy`, or `auto`: what the chain's blocks show")
    fee_cap_gwei: int = Field(
        500, ge=1, le=10**9, description="most that is offered per gas; at it a stuck transaction waits"
    )
    webhooks: dict[str, dict[str, Any]] = Field(
        default_factory=dict, repr=False, description="receivers of events, in TOML: `[webhooks.<name>]`"
    )
    deliver_webhooks: bool = Field(True, description="whether `run` and `relay` deliver; else `webhooks deliver` does")
    sign_in_domains: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="further domains (`host` or `host:port`, comma between) whose pages sign players in; this server's "
        "own and those of origins that games allow always do",
    )
    address_limit: int = Field(
        6000, ge=0, description="requests a minute from one address (IPv6: /64) to one process; 0 or loopback: no limit"
    )
    key_limit: int = Field(60_000, ge=0, description="requests a minute with one API key to one process; 0: no limit")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="reverse proxies whose `X-Forwarded-For` is believed: addresses or networks, commas between"
    )
    open_registration: bool = Field(
        False, description="whether anybody may register a game with an economy (`POST /api/economy/games`) without key"
    )
    anchor_s: int = Field(
        0, ge=0, description="how often a game's ledger is anchored if it grew; 0: 600 s (5 s on test chains)"
    )
    anchor_transactions: int = Field(
        100_000, ge=1, description="how many new transactions of a game are anchored at once, without waiting for that"
    )
    anchor_open_games: bool = Field(
        False, description="whether ledgers of games that anybody registered are anchored, too: their gas is yours"
    )
    reconcile_s: int = Field(
        600, ge=1, description="how often all balances are held against the ledger; what differs is frozen and flagged"
    )
    receipt_days: int = Field(7, ge=1, le=365, description="how long a receipt may be carried to the chain")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="how much is logged")

    # The indexer's own settings, in the same file.
    elsewhere = frozenset({"indexer_poll_ms", "evidence_url", "evidence_grace_s", "attestors"})

    @field_validator("rpc_url", mode="before")
    @classmethod
    def _endpoints(cls, value: object) -> str:
        return checked_endpoints(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Proxies(value)
        return value

    @field_validator("gas_key_file", "gas_signer", "sign_in_domains", "trusted_proxies", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        if isinstance(value, Path):
            return (value,)
        return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value

    @property
    def rpc_urls(self) -> list[str]:
        """The chain's endpoints that are asked, the preferred first."""
        return endpoints(self.rpc_url, *HTTP)

    @property
    def head_urls(self) -> list[str]:
        """The endpoints that announce new blocks."""
        return endpoints(self.rpc_url, *WEBSOCKET)

    @property
    def embedded(self) -> bool:
        """Whether the system runs on its own embedded chain: the only case in which keys are made up."""
        return not self.rpc_urls


def settings(**overrides: Any) -> Settings:
    """Read the settings; `overrides` (from the command line) that are None do not override.

    Raises:
        pydantic.ValidationError: a value is not usable; the message names the setting, never its value.
    """
    return Settings(**{name: value for name, value in overrides.items() if value is not None})
