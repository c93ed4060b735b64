"""The embedded chain as a process: the same chain after a kill, one owner of the journal, honest about damage."""

import asyncio
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from eth_account import Account
from web3 import AsyncHTTPProvider, AsyncWeb3

from relay.chain import Chain
from relay.devnet import CHAIN_ID, JOURNAL_NAME, KEYS_NAME, Devnet, DevnetError, load_keys
from relay.signer import LocalSigner
from tests.harness.outboxes import eventually

SOMEBODY = "0x" + "22" * 20


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[tuple[Devnet, Chain]]:
    """A devnet on `home` and a connection to it."""
    devnet = await Devnet.start(home)
    chain = Chain(devnet.rpc_url)
    try:
        yield devnet, chain
    finally:
        await chain.close()
        await devnet.stop()


def transfer(signer: LocalSigner, nonce: int, **changes: object) -> tuple[bytes, bytes]:
    """A small signed payment."""
    fields: dict[str, Any] = {
        "chainId": CHAIN_ID, "nonce": nonce, "gas": 21_000, "to": SOMEBODY, "value": 1,
        "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9,
    }  # fmt: skip
    return signer.sign_transaction({**fields, **changes})


async def mined(chain: Chain, tx_hash: bytes) -> int:
    """Wait for a receipt; returns its block."""
    for _ in range(3_000):
        receipt = (await chain.receipts([tx_hash]))[0]
        if receipt is not None:
            assert receipt.succeeded
            return receipt.block_number
        await asyncio.sleep(0.02)
    raise AssertionError("not mined")


async def all_hashes(chain: Chain) -> list[bytes]:
    """Every block hash."""
    head = await chain.head()
    return [block.hash for block in await chain.blocks(range(head.number + 1)) if block is not None]


def test_a_restart_gives_the_same_chain(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as (devnet, chain):
            signer = LocalSigner(devnet.keys["gas"].secret)
            for nonce in range(5):
                raw, tx_hash = transfer(signer, nonce)
                assert (await chain.send_raw(raw)).accepted
            await mined(chain, tx_hash)
            before = await all_hashes(chain)
        async with running(tmp_path) as (devnet, chain):
            assert devnet.notice is None
            after = await all_hashes(chain)
            assert after[: len(before)] == before
            assert await chain.nonce(signer.address) == 5
            assert (await chain.receipts([tx_hash]))[0] is not None

    uvloop.run(run())


def test_confirmations_come_by_themselves(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as (devnet, chain):
            raw, tx_hash = transfer(LocalSigner(devnet.keys["gas"].secret), 0)
            await chain.send_raw(raw)
            block = await mined(chain, tx_hash)

            async def final() -> bool:
                return await chain.finalized(0, await chain.head()) >= block

            await eventually(final)
            quiet = (await chain.head()).number
            await asyncio.sleep(1.2)
            assert (await chain.head()).number == quiet  # and then they stop: an idle chain does not grow

    asyncio.run(run())


def test_killed_at_random_moments_nothing_answered_is_lost(tmp_path: Path) -> None:
    async def run() -> None:
        chance = random.Random(7)
        nonce = 0
        hashes: list[bytes] = []
        seen: list[bytes] = []
        for _ in range(4):
            async with running(tmp_path) as (devnet, chain):
                signer = LocalSigner(devnet.keys["gas"].secret)
                assert (await all_hashes(chain))[: len(seen)] == seen
                deadline = asyncio.get_running_loop().time() + chance.uniform(0.05, 0.5)
                while asyncio.get_running_loop().time() < deadline:
                    raw, tx_hash = transfer(signer, nonce)
                    assert (await chain.send_raw(raw)).accepted
                    hashes.append(tx_hash)
                    nonce += 1
                seen = await all_hashes(chain)
                os.kill(devnet.pid, signal.SIGKILL)
                await devnet.wait()
        async with running(tmp_path) as (_, chain):
            await mined(chain, hashes[-1])
            assert None not in await chain.receipts(hashes)
            assert await chain.nonce(signer.address) == nonce > 10

    asyncio.run(run())


def test_a_torn_last_line_is_dropped_with_a_message(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as (devnet, chain):
            raw, tx_hash = transfer(LocalSigner(devnet.keys["gas"].secret), 0)
            await chain.send_raw(raw)
            await mined(chain, tx_hash)
            before = await all_hashes(chain)
        journal = tmp_path / JOURNAL_NAME
        whole = journal.read_bytes()
        journal.write_bytes(whole + b'1234abcd {"block":[9')
        async with running(tmp_path) as (devnet, chain):
            assert devnet.notice is not None
            assert "torn last line of 20 bytes" in devnet.notice
            assert (await all_hashes(chain))[: len(before)] == before

    asyncio.run(run())


def test_damage_in_the_middle_and_a_changed_block_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as (devnet, chain):
            raw, tx_hash = transfer(LocalSigner(devnet.keys["gas"].secret), 0)
            await chain.send_raw(raw)
            await mined(chain, tx_hash)
        journal = tmp_path / JOURNAL_NAME
        good = journal.read_bytes()
        journal.write_bytes(good.replace(b'"tx":"0x02', b'"tx":"0x03', 1))
        with pytest.raises(DevnetError, match="line 2 is damaged"):
            await Devnet.start(tmp_path)
        lines = good.splitlines(keepends=True)
        number = next(index for index, line in enumerate(lines) if b'"block"' in line)
        lines[number] = _resummed(lines[number])
        journal.write_bytes(b"".join(lines))
        with pytest.raises(DevnetError, match=r"block 1 was 0x.* but rebuilds as 0x.*move the whole state folder away"):
            await Devnet.start(tmp_path)

    asyncio.run(run())


def _resummed(line: bytes) -> bytes:
    """The block line with another timestamp and a checksum that fits."""
    import zlib

    document = json.loads(line[9:])
    document["block"][1] += 1
    text = json.dumps(document, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def test_two_processes_never_share_a_journal_and_a_dying_one_is_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        first = await Devnet.start(tmp_path)
        with pytest.raises(DevnetError, match="in use by another running fairscore"):
            await Devnet.start(tmp_path, lock_wait_s=0.2)
        waiting = asyncio.create_task(Devnet.start(tmp_path))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await first.stop()
        second = await waiting
        assert second.alive()
        await second.stop()
        assert not second.alive()

    asyncio.run(run())


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom relay.devnet import Devnet\n"
        "async def run():\n    d = await Devnet.start(Path(sys.argv[1]))\n    print(d.pid, flush=True)\n"
        "    await asyncio.sleep(60)\nasyncio.run(run())"
    )

    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = Path(f"/proc/{int(parent.stdout.readline())}/stat")
        assert child.exists()
        parent.kill()
    deadline = time.monotonic() + 60
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_watched_chain_comes_back_at_its_address(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Killed, twice, by somebody else (short memory, say): the same chain again; stopped by us: no more."""

    async def scenario() -> None:
        async with running(tmp_path) as (devnet, chain):
            devnet.watch()
            signer = LocalSigner(devnet.keys["player"].secret)
            raw, tx_hash = transfer(signer, 0)
            assert (await chain.send_raw(raw)).accepted
            block = await mined(chain, tx_hash)
            for _ in range(2):
                killed = devnet.pid
                os.kill(killed, signal.SIGKILL)

                async def back(killed: int = killed) -> bool:
                    if devnet.pid == killed:
                        return False
                    (receipt,) = await chain.receipts([tx_hash])
                    return receipt is not None and receipt.block_number == block

                await eventually(back)
            last = devnet.pid
            await devnet.stop()
            await asyncio.sleep(0.5)
            assert not devnet.alive()
            assert devnet.pid == last

    uvloop.run(scenario())
    assert [record.levelname for record in caplog.records if "starting it again" in record.message] == ["ERROR"] * 2


def test_keys_are_private_random_and_kept(tmp_path: Path) -> None:
    keys = load_keys(tmp_path / "a")
    assert load_keys(tmp_path / "a") == keys
    assert load_keys(tmp_path / "b")["gas"].address != keys["gas"].address
    assert stat.S_IMODE((tmp_path / "a" / KEYS_NAME).stat().st_mode) == 0o600
    assert keys["gas"].secret.hex() not in repr(keys)
    assert LocalSigner(keys["admin"].secret).address == keys["admin"].address
    (tmp_path / "a" / KEYS_NAME).write_text("{")
    with pytest.raises(DevnetError, match="damaged"):
        load_keys(tmp_path / "a")


def test_a_journal_of_other_keys_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path):
            pass
        (tmp_path / KEYS_NAME).unlink()
        with pytest.raises(DevnetError, match="written for other keys"):
            await Devnet.start(tmp_path)

    asyncio.run(run())


def test_web3_and_eth_account_read_and_send(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as (devnet, _):
            web3: AsyncWeb3[AsyncHTTPProvider] = AsyncWeb3(AsyncHTTPProvider(devnet.rpc_url))
            account = Account.from_key(devnet.keys["player"].secret)
            assert await web3.eth.chain_id == CHAIN_ID
            assert await web3.eth.get_balance(account.address) == 10**24
            for nonce, fees in enumerate(
                ({"gasPrice": 2 * 10**9}, {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 1})
            ):
                signed = account.sign_transaction(
                    {"to": SOMEBODY, "value": 5, "gas": 21_000, "nonce": nonce, "chainId": CHAIN_ID, **fees}
                )
                tx_hash = await web3.eth.send_raw_transaction(signed.raw_transaction)
                receipt = await web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.02)
                assert receipt["status"] == 1
                found = await web3.eth.get_transaction(tx_hash)
                assert found["from"] == account.address
                assert found["blockHash"] == receipt["blockHash"]
            block = await web3.eth.get_block("latest", full_transactions=True)
            assert block["parentHash"]
            history = await web3.eth.fee_history(2, "latest", [25.0, 75.0])
            assert len(history["baseFeePerGas"]) == 3
            await web3.provider.disconnect()

    asyncio.run(run())


def test_a_batch_as_ethers_sends_it_and_errors_as_geth_words_them(tmp_path: Path) -> None:
    def post(url: str, body: object) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, {"content-type": "application/json"})) as answer:
            assert answer.headers["access-control-allow-origin"] == "*"
            return json.load(answer)

    async def run() -> None:
        async with running(tmp_path) as (devnet, chain):
            url = devnet.rpc_url
            calls = [
                {"jsonrpc": "2.0", "id": 7, "method": "eth_chainId", "params": []},
                {"jsonrpc": "2.0", "id": 8, "method": "eth_nope", "params": []},
                {"jsonrpc": "2.0", "id": 9, "method": "eth_getBalance", "params": ["0x12", "latest"]},
                {"jsonrpc": "2.0", "method": "eth_chainId"},
            ]
            answers = await asyncio.to_thread(post, url, calls)
            assert [answer["id"] for answer in answers] == [7, 8, 9]
            assert answers[0]["result"] == hex(CHAIN_ID)
            assert [answer["error"]["code"] for answer in answers[1:]] == [-32601, -32602]
            assert (await asyncio.to_thread(post, url, b"{nonsense"))["error"]["code"] == -32700
            assert (await asyncio.to_thread(post, url, []))["error"]["code"] == -32600
            signer = LocalSigner(devnet.keys["gas"].secret)
            raw, tx_hash = transfer(signer, 0)
            assert (await chain.send_raw(raw)).accepted
            await mined(chain, tx_hash)
            assert "nonce too low" in (await chain.send_raw(raw)).message
            later, _ = transfer(signer, 5)
            assert (await chain.send_raw(later)).accepted  # a gap waits for its predecessors
            assert (await chain.send_raw(later)).message == "already known"
            cheap, _ = transfer(signer, 5, maxFeePerGas=10**10 + 1)
            assert "replacement transaction underpriced" in (await chain.send_raw(cheap)).message
            poor, _ = transfer(signer, 6, value=10**25)
            assert "insufficient funds" in (await chain.send_raw(poor)).message
            wrong, _ = transfer(signer, 6, chainId=1)
            assert "invalid chain id" in (await chain.send_raw(wrong)).message
            assert "cannot decode" in (await chain.send_raw(b"\x02\x01")).message
            free, _ = transfer(signer, 6, maxFeePerGas=1, maxPriorityFeePerGas=1)
            assert "less than block base fee" in (await chain.send_raw(free)).message

    asyncio.run(run())


def test_keys_open_to_others_are_refused(tmp_path: Path) -> None:
    """Throw-away keys or not: a key file that others can read is said, with what to do."""
    load_keys(tmp_path)
    (tmp_path / "devnet-keys.json").chmod(0o644)
    with pytest.raises(DevnetError, match="chmod 600"):
        load_keys(tmp_path)
