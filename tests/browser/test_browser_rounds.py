"""fairscore.js: rounds, encryption by WebCrypto, sign-in and typed data, against the relay's own reading of them."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from playwright.sync_api import Browser, BrowserContext, Page

from relay.attestation import Domain
from relay.canonical import canonical
from relay.payload import decrypt, envelope, shown_key
from tests.harness.wallet import LocalWallet

GAME_KEY = bytes(range(32))
ROUND = "65a1b2c3d4e5f60718293a4b"
PLAY = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30000}
CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"

# Plays scripted answers and records what was asked; the same against the real relay is in test_page_rounds.py.
CLIENT = """async ({answers, run, data}) => {
    const f = await import('/fairscore.js');
    const asked = [];
    const fetch = async (url, init) => {
        const { status = 200, body } = answers[Math.min(asked.length, answers.length - 1)];
        const { pathname, search } = new URL(url);
        asked.push({ path: pathname + search, method: init.method, headers: init.headers, body: init.body });
        return new Response(JSON.stringify(body), { status, headers: {} });
    };
    const client = new f.Fairscore({ baseUrl: 'http://relay.invalid', apiKey: 'fs_live_pk_x', fetch });
    const result = await (0, eval)(`(async (f, client, data) => ${run})`)(f, client, data)
        .catch((error) => ({ error: { code: error.code, message: error.message } }));
    return { asked, result };
}"""


@pytest.fixture(scope="module")
def shared(browser: Browser, module_files: str) -> Iterator[Page]:
    """One page for the tests that leave nothing behind in it."""
    page = browser.new_page()
    page.goto(f"{module_files}/blank")
    yield page
    page.close()


def run(page: Page, code: str, *answers: dict[str, Any], **data: Any) -> dict[str, Any]:
    told: dict[str, Any] = page.evaluate(CLIENT, {"answers": answers or [{"body": {}}], "run": code, "data": data})
    return told


def started(**changes: Any) -> dict[str, Any]:
    key = {"encryptionKeyId": "ek_1", "encryptionKey": shown_key(GAME_KEY, ROUND)}
    return {"_id": ROUND, "status": "active", "tournamentId": "cup", "playerId": "ann", **key, **changes}


def test_what_the_browser_encrypts_the_relay_decrypts(shared: Page) -> None:
    code = "client.endRound(data.round, data.play, { signature: '0xab', deadline: 7 })"
    told = run(shared, code, {"body": {"status": "accepted"}}, round=started(), play={**PLAY, "name": "é☃"})
    (asked,) = told["asked"]
    assert asked["path"] == f"/api/tournaments/cup/rounds/{ROUND}/end"
    sent = json.loads(asked["body"])
    assert sorted(sent) == ["encrypted", "keyId"]
    assert sent["keyId"] == "ek_1"
    plain = json.loads(decrypt(GAME_KEY, ROUND, sent["encrypted"]))
    assert plain == {"scoreData": {**PLAY, "name": "é☃"}, "signature": "0xab", "deadline": 7}
    again = run(shared, code, {"body": {}}, round=started(), play=PLAY)["asked"][0]
    assert envelope(json.loads(again["body"])["encrypted"]).iv != envelope(sent["encrypted"]).iv


def test_a_large_replay_is_encrypted_whole(shared: Page) -> None:
    """Longer than what a browser takes as arguments of one call."""
    events = [[time, 1] for time in range(60_000)]
    told = run(shared, "client.endRound(data.round, data.play)", round=started(), play={"events": events})
    sent = json.loads(told["asked"][0]["body"])
    assert json.loads(decrypt(GAME_KEY, ROUND, sent["encrypted"]))["scoreData"]["events"] == events


def test_a_report_is_plain_where_it_is_wanted_so(shared: Page) -> None:
    plain = run(shared, "client.endRound(data.round, data.play, {encrypt: false})", round=started(), play=PLAY)
    assert json.loads(plain["asked"][0]["body"]) == {"scoreData": PLAY}
    keyless = started(encryptionKey=None, encryptionKeyId=None, tournamentId=None)
    free = run(shared, "client.endRound(data.round, data.play)", round=keyless, play=PLAY)["asked"][0]
    assert (free["path"], json.loads(free["body"])) == (f"/api/rounds/{ROUND}/end", {"scoreData": PLAY})
    told = run(shared, "client.endRound(data.round, data.play, {encrypt: true})", round=keyless, play=PLAY)
    assert "without an encryption key" in told["result"]["error"]["message"]
    assert told["asked"] == []


def test_a_round_is_started_for_an_address_or_a_name(shared: Page) -> None:
    cup = run(shared, "client.startRound({player: '0xab', tournamentId: 'a cup'})", {"body": started()})["asked"][0]
    assert (cup["method"], cup["path"]) == ("POST", "/api/tournaments/a%20cup/rounds")
    assert json.loads(cup["body"]) == {"playerAddress": "0xab"}
    assert len(cup["headers"]["Idempotency-Key"]) == 32
    free = run(shared, "client.startRound({playerId: 'ann', chartId: 'c'})", {"body": started()})["asked"][0]
    assert (free["path"], json.loads(free["body"])) == (
        "/api/rounds",
        {"gameId": "streambeat", "playerId": "ann", "chartId": "c"},
    )


def test_a_round_is_waited_for_until_it_is_settled(shared: Page) -> None:
    answers = [{"body": started(status=status)} for status in ("reported", "reported", "confirmed", "accepted")]
    code = """{
        const seen = [];
        await client.waitForRound(data.round, { onStatus: ({ status }) => seen.push(status) });
        return seen;
    }"""
    told = run(shared, code, *answers, round=started())
    assert told["result"] == ["reported", "confirmed", "accepted"]
    late = run(shared, "client.waitForRound(data.round, {timeoutMs: 1})", answers[0], round=started())
    assert late["result"]["error"]["code"] == "WAIT_TIMEOUT"


def test_a_sessions_token_goes_with_changes_until_it_is_over(shared: Page) -> None:
    code = """{
        const expiresAt = new Date(Date.now() + data.ms).toISOString();
        client.session = { token: 'fs_live_pt_t', player: '0x1', expiresAt };
        await client.startRound({ player: '0x1' });
        await client.round(data.round);
        return client.session === null;
    }"""
    valid = run(shared, code, {"body": started()}, round=started(), ms=60_000)
    assert [one["headers"]["Authorization"] for one in valid["asked"]] == ["Bearer fs_live_pt_t", "Bearer fs_live_pk_x"]
    assert valid["result"] is False
    over = run(shared, code, {"body": started()}, round=started(), ms=-1)
    assert over["asked"][0]["headers"]["Authorization"] == "Bearer fs_live_pk_x"
    assert over["result"] is True


@pytest.mark.parametrize("value", [PLAY, {"b": [1, {"é": "\u2028\n", "a": None}], "a": {"z": True, "A": "\x7f"}}, {}])
def test_evidence_is_hashed_as_the_relay_hashes_it(shared: Page, value: dict[str, Any]) -> None:
    told = shared.evaluate("async (v) => (await import('/wallet.js')).canonicalJson(v)", value)
    assert told.encode() == canonical(value)


def test_a_players_word_for_a_score_is_the_contracts_type(context: BrowserContext, blank: Page) -> None:
    """The typed data signed by the wallet recovers to it, and its digest is the one that the relay builds by hand."""
    wallet = LocalWallet(b"\x07" * 32)
    wallet.install(context)
    blank.reload()
    domain = {"name": "Leaderboard", "version": "1", "chainId": 31337, "verifyingContract": CONTRACT}
    code = """{
        const [{ wallet, name }] = await f.findWallets();
        const player = await f.accountOf(wallet);
        const signed = await client.sign(wallet, data.play, { player, roundId: data.round._id });
        const document = f.submitScoreDocument(
            { domain: data.domain, gameId: 'streambeat', roundId: data.round._id, player, scoreData: data.play,
              deadline: signed.deadline });
        return { name, player, document, ...signed };
    }"""
    told = run(blank, code, {"body": {"domain": domain}}, round=started(), play=PLAY, domain=domain)["result"]
    assert (told["name"], told["player"]) == ("Test wallet", wallet.address)
    message = encode_typed_data(full_message=told["document"])
    assert Account.recover_message(message, signature=told["signature"]) == wallet.address
    assert message.header == Domain(31337, bytes.fromhex(CONTRACT[2:])).separator
    assert told["document"]["message"]["roundRef"] == "0x" + keccak(text=ROUND).hex()
    assert told["document"]["message"]["evidenceHash"] == "0x" + keccak(canonical(PLAY)).hex()


def test_a_wallet_delegates_to_a_key_of_the_page(context: BrowserContext, blank: Page) -> None:
    wallet = LocalWallet(b"\x07" * 32)
    wallet.install(context)
    blank.reload()
    domain = {"name": "Leaderboard", "version": "1", "chainId": 31337, "verifyingContract": CONTRACT}
    key = "0x" + "ab" * 20
    code = "client.delegate((await f.findWallets())[0].wallet, { player: data.player, address: data.key, validS: 60 })"
    told = run(blank, code, {"body": {"domain": domain}}, {"body": {"keyId": "skey_1"}}, player=wallet.address, key=key)
    assert told["result"] == {"keyId": "skey_1"}
    sent = json.loads(told["asked"][1]["body"])
    types = {"SessionKey": [{"name": "player", "type": "address"}, {"name": "key", "type": "address"}]}
    types["SessionKey"] += [{"name": "scope", "type": "string"}, {"name": "expiresAt", "type": "uint64"}]
    said = {"player": wallet.address, "key": key, "scope": "submit", "expiresAt": sent["expiresAt"]}
    assert (
        Account.recover_message(encode_typed_data(domain, types, said), signature=sent["signature"]) == wallet.address
    )
    assert told["asked"][1]["path"] == "/api/sessions/keys"
    assert (sent["player"], sent["address"], sent["scope"]) == (wallet.address, key, "submit")


def test_a_wallet_whose_owner_declines_is_heard(context: BrowserContext, blank: Page) -> None:
    wallet = LocalWallet(b"\x07" * 32)
    wallet.declines = True
    wallet.install(context)
    blank.reload()
    told = run(blank, "client.signIn((await f.findWallets())[0].wallet)")
    assert told["result"]["error"]["code"] == 4001
    assert told["asked"] == []


def test_base64_of_any_bytes(shared: Page) -> None:
    for length in (0, 1, 2, 3, 100_000):
        raw = bytes(number % 256 for number in range(length))
        given = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        code = "async (t) => { const s = await import('/sealing.js'); return s.toBase64(s.fromBase64Url(t)); }"
        assert base64.b64decode(shared.evaluate(code, given)) == raw
