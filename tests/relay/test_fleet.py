"""Senders that come and go, and keys that are replaced: what is decided, and that it is done over a chain."""

import asyncio
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from sqlalchemy import update

from relay.attestation import Domain
from relay.chain_types import ChainUnavailableError
from relay.contract import AUDITOR_ROLE, SIGNER_ROLE, encode_call
from relay.errors import SignerError
from relay.fleet import Change, Edges, Fleet, Running, changes, jobs
from relay.health import Check
from relay.keccak import checksum_address, keccak
from relay.keyring import Keyring, Signer
from relay.outbox.desk import Readiness
from relay.outbox.scores import ScoreCargo
from relay.private_file import KeyFileError
from relay.rotation import Rotation, Verdict, judge
from relay.signer import LocalSigner
from relay.signing_policy import ATTESTATIONS, MODERATION, PolicyError
from relay.store.outbox_tables import leases
from tests.harness.fake_chain import FakeChain
from tests.harness.outboxes import ATTESTER, CHAIN_ID, CONTRACT, GAS_KEY, SETTINGS, Bench, bench, eventually

A, B = b"\xaa" * 20, b"\xbb" * 20
AUDITOR = LocalSigner(keccak(b"auditor of this test"))
NEXT = LocalSigner(keccak(b"the next attestation key"))
KEYS = Keyring(None, ATTESTER, (GAS_KEY,))


# ------------------------------------------------------------------- what is decided


@pytest.mark.parametrize(
    ("running", "wanted", "expected"),
    [
        ({}, {A: ATTESTATIONS}, {A: Change.START}),
        ({A: Running(ATTESTATIONS, draining=False, finished=False)}, {A: ATTESTATIONS}, {}),
        ({A: Running(ATTESTATIONS, draining=False, finished=True)}, {}, {A: Change.DRAIN}),
        ({A: Running(ATTESTATIONS, draining=True, finished=False)}, {}, {}),
        ({A: Running(ATTESTATIONS, draining=True, finished=True)}, {}, {A: Change.STOP}),
        ({A: Running(ATTESTATIONS, draining=True, finished=False)}, {A: ATTESTATIONS}, {A: Change.RESUME}),
        ({A: Running(ATTESTATIONS, draining=False, finished=False)}, {A: ATTESTATIONS | MODERATION}, {A: Change.DRAIN}),
        ({A: Running(ATTESTATIONS, draining=True, finished=True)}, {A: MODERATION}, {A: Change.STOP}),
        (
            {A: Running(ATTESTATIONS, draining=False, finished=False)},
            {B: ATTESTATIONS},
            {A: Change.DRAIN, B: Change.START},
        ),
    ],
)
def test_what_becomes_of_a_key(
    running: dict[bytes, Running], wanted: dict[bytes, frozenset[str]], expected: dict[bytes, Change]
) -> None:
    assert changes(running, wanted) == expected


def test_every_state_leads_to_what_is_wanted() -> None:
    """However a key stands, after at most four looks it runs with the wanted kinds or is gone, never stopped early."""
    kinds = (ATTESTATIONS, MODERATION, ATTESTATIONS | MODERATION)
    states = [None, *(Running(k, draining=d, finished=f) for k, d, f in product(kinds, (True, False), (True, False)))]
    for state, want in product(states, (None, *kinds)):
        running = {} if state is None else {A: state}
        wanted = {} if want is None else {A: want}
        for _ in range(4):
            change = changes(running, wanted).get(A)
            if change is Change.STOP:
                assert running[A].draining
                assert running[A].finished
                running = {}
            elif change is Change.START:
                running = {A: Running(wanted[A], draining=False, finished=False)}
            elif change is not None:
                running = {A: running[A]._replace(draining=change is Change.DRAIN)}
            elif A in running and running[A].draining:
                running = {A: running[A]._replace(finished=True)}
        assert {a: (one.kinds, one.draining) for a, one in running.items()} == {
            a: (k, False) for a, k in wanted.items()
        }


@pytest.mark.parametrize(
    ("held", "offered", "verdict"),
    [
        (True, None, Verdict.KEEP), (True, False, Verdict.KEEP), (True, True, Verdict.REPLACE),
        (False, None, Verdict.SUSPEND), (False, False, Verdict.SUSPEND), (False, True, Verdict.REPLACE),
    ],
)  # fmt: skip
def test_what_becomes_of_the_attestation_key(held: bool, offered: bool | None, verdict: Verdict) -> None:
    assert judge(held=held, offered=offered) is verdict


def test_jobs() -> None:
    """Without an attestation key nothing is scored; an auditor's key moderates all the same."""
    assert jobs(Keyring(None, None, (GAS_KEY,))) == {}
    found = jobs(Keyring(None, None, (GAS_KEY,), GAS_KEY))
    assert {address: job.kinds for address, job in found.items()} == {GAS_KEY.address: MODERATION}
    found = jobs(Keyring(None, ATTESTER, (GAS_KEY,), GAS_KEY))
    assert found[GAS_KEY.address].kinds == ATTESTATIONS | MODERATION


# --------------------------------------------------------------- that it is done


class RoleChain(FakeChain):
    """The simulated chain with a contract that knows roles."""

    def __init__(self) -> None:
        super().__init__(CONTRACT)
        self.roles = {(SIGNER_ROLE, ATTESTER.address), (AUDITOR_ROLE, AUDITOR.address)}
        self.silent = False

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:
        if self.silent:
            raise ChainUnavailableError("away")
        if data[:4] == encode_call("hasRole", bytes(32), A)[:4]:
            return int((data[4:36], data[48:68]) in self.roles).to_bytes(32, "big")
        return await super().call(to, data, sender, gas)


class Stage:
    """A fleet with its rotation over a bench and a simulated chain; keys are what `keys` says."""

    def __init__(self, base: Bench) -> None:
        self.bench = base
        self.chain = RoleChain()
        self.keys: Keyring | Exception = KEYS
        self.signing: list[Signer | None] = []
        domain = Domain(CHAIN_ID, CONTRACT)
        self.fleet = Fleet(Edges(self.chain, base.database, base.writer, domain, base.ears, SETTINGS))
        self.rotation = Rotation(self.read, KEYS, self.chain, CONTRACT, self.fleet, self.signing.append)

    def read(self) -> Keyring:
        """The sources."""
        if isinstance(self.keys, Exception):
            raise self.keys
        return self.keys

    def cargo(self) -> ScoreCargo:
        """The cargo of the gas key's outbox."""
        found = self.fleet.outboxes[GAS_KEY.address].desk.cargoes["scores"]
        assert isinstance(found, ScoreCargo)
        return found

    def check(self, name: str) -> Check:
        """One line of readiness."""
        return self.rotation.ready()[name]

    async def settle(self, count: int) -> None:
        """Mine until so many scores are final."""

        async def final() -> bool:
            self.chain.mine()
            return await self.bench.all_final(count)

        await eventually(final)


def on_stage(url: str, play: Any) -> None:
    """Run `play(stage)` and stop everything."""

    async def run() -> None:
        async with bench(url) as base:
            stage = Stage(base)
            await stage.rotation.start()
            try:
                await play(stage)
            finally:
                await stage.fleet.stop()
            await base.check_invariants()

    asyncio.run(run())


def test_a_key_that_is_taken_away_finishes_what_it_began(database_url: str) -> None:
    """Drained: what is on its way becomes final, what comes later waits for the next key; then it is let go."""

    async def play(stage: Stage) -> None:
        await stage.bench.accept(3)
        stage.fleet.wake()

        async def sent() -> bool:
            return (await stage.bench.statuses())["sent"] == 3

        await eventually(sent)
        stage.keys = Keyring(None, ATTESTER)
        await stage.rotation.look()
        assert stage.fleet.outboxes[GAS_KEY.address].desk.draining
        await stage.bench.accept(2)
        stage.fleet.wake()
        await stage.rotation.look()
        assert GAS_KEY.address in stage.fleet.outboxes, "it has work under way"
        await stage.settle(3)
        await stage.rotation.look()
        assert stage.fleet.outboxes == {}
        assert (await stage.bench.statuses()) == {"final": 3, "accepted": 2}
        stage.keys = KEYS
        await stage.rotation.look()
        await stage.settle(5)

    on_stage(database_url, play)


def test_a_key_that_comes_back_while_it_is_drained_goes_on(sqlite_url: str) -> None:
    async def play(stage: Stage) -> None:
        await stage.bench.accept(1)
        stage.fleet.wake()

        async def sent() -> bool:
            return (await stage.bench.statuses())["sent"] == 1

        await eventually(sent)
        before = stage.fleet.outboxes[GAS_KEY.address]
        stage.keys = Keyring(None, ATTESTER)
        await stage.rotation.look()
        stage.keys = KEYS
        await stage.rotation.look()
        assert stage.fleet.outboxes == {GAS_KEY.address: before}
        assert not before.desk.draining
        await stage.bench.accept(1)
        await stage.settle(2)

    on_stage(sqlite_url, play)


def test_an_attestation_key_takes_over_once_the_contract_accepts_it(sqlite_url: str) -> None:
    async def play(stage: Stage) -> None:
        stage.keys = Keyring(None, NEXT, (GAS_KEY,))
        await stage.rotation.look()
        grant = f"fairscore roles grant signer {checksum_address(NEXT.address)}"
        assert stage.check("attestation").ok
        assert grant in stage.check("attestation").detail
        assert (stage.signing, stage.cargo().attester) == ([], ATTESTER)
        stage.chain.roles.add((SIGNER_ROLE, NEXT.address))
        await stage.rotation.look()
        assert (stage.signing, stage.cargo().attester) == ([NEXT], NEXT)
        assert stage.check("attestation") == Check(True, f"signs with {checksum_address(NEXT.address)}")
        stage.chain.roles.discard((SIGNER_ROLE, ATTESTER.address))
        await stage.rotation.look()
        assert stage.signing == [NEXT], "the old one's role does not matter any more"

    on_stage(sqlite_url, play)


def test_a_revoked_attestation_key_signs_nothing_until_it_is_accepted_again(sqlite_url: str) -> None:
    async def play(stage: Stage) -> None:
        stage.chain.roles.clear()
        for _ in range(2):
            await stage.rotation.look()
        assert stage.signing == [None], "told once"
        assert not stage.check("attestation").ok
        assert "nothing is signed" in stage.check("attestation").detail
        stage.chain.silent = True
        await stage.rotation.look()
        assert stage.signing == [None], "an endpoint that is away changes nothing"
        stage.chain.silent = False
        stage.chain.roles.add((SIGNER_ROLE, ATTESTER.address))
        await stage.rotation.look()
        assert stage.signing == [None, ATTESTER]
        assert stage.check("attestation").ok

    on_stage(sqlite_url, play)


@pytest.mark.parametrize("error", [KeyFileError("gas.key is open to other users"), SignerError("host does not answer")])
def test_sources_that_cannot_be_read_change_nothing(sqlite_url: str, error: Exception) -> None:
    async def play(stage: Stage) -> None:
        stage.keys = error
        await stage.rotation.look()
        assert list(stage.fleet.outboxes) == [GAS_KEY.address]
        assert stage.check("keys").ok
        assert f"kept as they were, because {error}" in stage.check("keys").detail
        stage.keys = KEYS
        await stage.rotation.look()
        assert stage.check("keys").detail == f"gas {checksum_address(GAS_KEY.address)}"

    on_stage(sqlite_url, play)


def test_an_auditors_key_needs_its_role(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(stage: Stage) -> None:
        stage.keys = Keyring(None, ATTESTER, (GAS_KEY,), AUDITOR)
        await stage.rotation.look()
        assert set(stage.fleet.outboxes) == {GAS_KEY.address, AUDITOR.address}
        assert "auditor" not in stage.rotation.ready()
        stage.chain.roles.discard((AUDITOR_ROLE, AUDITOR.address))
        await stage.rotation.look()
        assert stage.check("auditor").ok, "scores go on: a load balancer must not turn away from them"
        assert f"revocations wait: {checksum_address(AUDITOR.address)}" in stage.check("auditor").detail
        assert f"roles grant auditor {checksum_address(AUDITOR.address)}" in stage.check("auditor").detail
        seen: list[bool] = []
        answer = stage.chain.call

        async def call(to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
            seen.append("auditor" in stage.rotation.ready())
            return await answer(to, data, sender)

        monkeypatch.setattr(stage.chain, "call", call)
        await stage.rotation.look()
        assert seen
        assert all(seen), "what is known is told while the chain is asked again"

    on_stage(sqlite_url, play)


def test_transactions_that_nobody_finishes_are_told(sqlite_url: str) -> None:
    """A key was taken away with the process that held it: what it began waits, visibly, for the key."""

    async def play(stage: Stage) -> None:
        await stage.bench.accept(1)
        stage.fleet.wake()

        async def sent() -> bool:
            return (await stage.bench.statuses())["sent"] == 1

        await eventually(sent)
        await stage.fleet.stop()
        stage.fleet.outboxes.clear()
        await stage.bench.writer.run(lambda c: c.execute(update(leases).values(expires_at_ms=0)).rowcount)
        stage.keys = Keyring(None, ATTESTER)
        await stage.rotation.look()
        assert "abandoned" not in stage.rotation.ready(), "its process may just be starting again"
        await stage.rotation.look()
        assert not stage.check("abandoned").ok
        assert checksum_address(GAS_KEY.address) in stage.check("abandoned").detail
        stage.keys = KEYS
        await stage.rotation.look()
        await stage.settle(1)
        await stage.rotation.look()
        assert "abandoned" not in stage.rotation.ready()

    on_stage(sqlite_url, play)


def test_an_outbox_signs_by_the_policy_of_its_job(sqlite_url: str) -> None:
    async def play(stage: Stage) -> None:
        signer = stage.fleet.outboxes[GAS_KEY.address].desk.gas_signer
        fields = {"chainId": CHAIN_ID, "nonce": 0, "gas": 21_000, "gasPrice": 1, "to": CONTRACT, "value": 0}
        with pytest.raises(PolicyError, match="OTHER_FUNCTION"):
            signer.sign_transaction(fields | {"data": encode_call("pause")})

    on_stage(sqlite_url, play)


def test_readiness_of_several_keys_says_whose_it_is(sqlite_url: str) -> None:
    async def play(stage: Stage) -> None:
        stage.keys = Keyring(None, ATTESTER, (GAS_KEY,), AUDITOR)
        await stage.rotation.look()
        lines: Sequence[tuple[bytes, Readiness]] = [(A, Readiness(True, "fine")), (B, Readiness(True, "fine"))]
        assert Fleet._merged(list(lines)) == Readiness(True, "fine")
        found = Fleet._merged([(A, Readiness(True, "fine")), (B, Readiness(False, "no money"))])
        assert found == Readiness(False, f"{checksum_address(B)}: no money")
        assert set(stage.fleet.ready()) >= {"chain", "outbox"}

    on_stage(sqlite_url, play)
