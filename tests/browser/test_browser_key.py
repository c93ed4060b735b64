"""The browser's own secp256k1 makes the same bytes as libsecp256k1 (both draw nonces as RFC 6979 says)."""

import random

from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from playwright.sync_api import Page

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGN = """async (cases) => {
    const { addressOf, signDigest } = await import('/secp256k1.js');
    const { fromHex } = await import('/keccak.js');
    const told = [];
    for (const [key, digest] of cases)
        told.push([addressOf(BigInt(key)), await signDigest(BigInt(key), fromHex(digest))]);
    return told;
}"""


def expected(key: int, digest: bytes) -> list[str]:
    private = PrivateKey.from_int(key)
    address = to_checksum_address(keccak(private.public_key.format(compressed=False)[1:])[12:])
    signature = private.sign_recoverable(digest, hasher=None)
    return [address, "0x" + signature[:64].hex() + f"{27 + signature[64]:02x}"]


def test_signatures_and_addresses_are_those_of_libsecp256k1(blank: Page) -> None:
    source = random.Random(6979)
    keys = [1, 2, 3, ORDER - 1, ORDER // 2, *(source.randrange(1, ORDER) for _ in range(40))]
    digests = [bytes(32), b"\xff" * 32, ORDER.to_bytes(32, "big"), *(source.randbytes(32) for _ in keys)]
    cases = list(zip(keys, digests, strict=False))
    told = blank.evaluate(SIGN, [[hex(key), "0x" + digest.hex()] for key, digest in cases])
    assert told == [expected(key, digest) for key, digest in cases]


def test_a_key_of_the_page_signs_a_score_as_a_wallet_would(blank: Page) -> None:
    domain = {"name": "Leaderboard", "version": "1", "chainId": 31337, "verifyingContract": "0x" + "5f" * 20}
    told = blank.evaluate(
        """async (domain) => {
            const { LocalKey } = await import('/local_key.js');
            const w = await import('/wallet.js');
            const key = new LocalKey();
            const score = { domain, gameId: 'streambeat', roundId: null, player: '0x' + '11'.repeat(20),
                scoreData: { score: 2652 }, deadline: 1764000000 };
            const documents = [w.submitScoreDocument(score),
                w.sessionKeyDocument({ domain, player: score.player, key: key.address, expiresAt: 1764000000 })];
            const signatures = [];
            for (const each of documents) signatures.push(await w.signDocument(key, key.address, each));
            const refused = await key.request({ method: 'personal_sign', params: [] }).catch((e) => e.message);
            return { address: await w.accountOf(key), documents, signatures, refused };
        }""",
        domain,
    )
    for document, signature in zip(told["documents"], told["signatures"], strict=True):
        assert Account.recover_message(encode_typed_data(full_message=document), signature=signature) == told["address"]
    assert "does not do personal_sign" in told["refused"]
