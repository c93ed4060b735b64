"""keccak.js against published vectors and against the relay's own keccak, in the browser that will run it."""

import random

from eth_utils.address import to_checksum_address
from playwright.sync_api import Page

from relay.keccak import keccak

HASH = """async (all) => {
    const { fromHex, keccak256, toHex } = await import('/keccak.js');
    return all.map((hex) => toHex(keccak256(fromHex(hex))));
}"""
CHECKSUM = "async (all) => { const k = await import('/keccak.js'); return all.map(k.toChecksumAddress); }"
IS_PLAYER = "async (all) => { const k = await import('/keccak.js'); return all.map(k.isPlayerAddress); }"

# Published: the empty string and "abc" (Keccak team's known answers), and the topic of ERC-20's Transfer event.
VECTORS = {
    b"": "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    b"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
    b"Transfer(address,address,uint256)": "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
}
# The test cases of EIP-55.
CHECKSUMMED = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


def test_published_vectors(blank: Page) -> None:
    digests = blank.evaluate(HASH, ["0x" + data.hex() for data in VECTORS])
    assert digests == ["0x" + digest for digest in VECTORS.values()]


def test_every_length_around_the_block_boundaries(blank: Page) -> None:
    source = random.Random(55)
    inputs = [source.randbytes(length) for length in [*range(300), 407, 408, 409, 4096, 70_000]]
    digests = blank.evaluate(HASH, ["0x" + data.hex() for data in inputs])
    assert digests == ["0x" + keccak(data).hex() for data in inputs]


def test_a_mebibyte_takes_less_than_a_second(blank: Page) -> None:
    took_ms = blank.evaluate(
        """async () => {
            const { keccak256 } = await import('/keccak.js');
            const data = new Uint8Array(1 << 20);
            const start = performance.now();
            keccak256(data);
            return performance.now() - start;
        }"""
    )
    assert 0 < took_ms < 1000


def test_eip_55_cases(blank: Page) -> None:
    assert blank.evaluate(CHECKSUM, [address.lower() for address in CHECKSUMMED]) == CHECKSUMMED


def test_checksums_agree_with_eth_utils(blank: Page) -> None:
    source = random.Random(7)
    addresses = ["0x" + source.randbytes(20).hex() for _ in range(200)]
    assert blank.evaluate(CHECKSUM, addresses) == [to_checksum_address(address) for address in addresses]


def test_who_may_be_a_player(blank: Page) -> None:
    good = CHECKSUMMED[4]
    wrong_case = good[:-1] + good[-1].swapcase()
    cases = {
        good: True,
        good.lower(): True,
        "0x" + good[2:].upper(): True,
        wrong_case: False,
        "0x" + "0" * 40: False,
        good[:-1]: False,
        good[2:]: False,
        "": False,
        good + " ": False,
    }
    assert blank.evaluate(IS_PLAYER, list(cases)) == list(cases.values())
