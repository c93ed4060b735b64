"""What wallets are told to sign is what the relay recovers, byte for byte."""

import asyncio

from eth_account.messages import encode_typed_data

from relay.attestation import SUBMIT_SCORE_TYPEHASH
from relay.keccak import keccak
from tests.relay.api.test_openapi import check_answer
from tests.relay.conftest import DOMAIN, running


def test_the_domain_and_the_type_are_those_of_the_contract(sqlite_url: str) -> None:
    asyncio.run(check_document(sqlite_url))


async def check_document(url: str) -> None:
    async with running(url) as relay:
        reply = await relay.request("GET", "/api/signing")
        api = (await relay.request("GET", "/openapi.json")).json
    check_answer(api, "GET", "/api/signing", reply)
    told = reply.json
    fields = ",".join(f"{field['type']} {field['name']}" for field in told["types"]["SubmitScore"])
    assert keccak(f"SubmitScore({fields})".encode()) == SUBMIT_SCORE_TYPEHASH
    empty = {"gameId": bytes(32), "roundRef": bytes(32), "player": "0x" + "11" * 20, "score": 1}
    message = {**empty, "evidenceHash": bytes(32), "deadline": 1}
    made = encode_typed_data(told["domain"], {"SubmitScore": told["types"]["SubmitScore"]}, message)
    assert made.header == DOMAIN.separator


def test_a_relay_that_signs_nothing_says_so(sqlite_url: str) -> None:
    asyncio.run(check_refusal(sqlite_url))


async def check_refusal(url: str) -> None:
    async with running(url, signer=False) as relay:
        assert (await relay.request("GET", "/api/signing")).json["code"] == "SIGNER_UNAVAILABLE"
