"""The OpenAPI document is valid, and real answers are what it says."""

import asyncio
import json
from typing import Any

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from relay.api.accepted import _SAMPLE, accepted, document
from relay.attestation import Domain


def check_answer(api: dict[str, Any], method: str, path: str, reply: Any) -> None:
    """Raise unless a real answer is one that the document declares."""
    responses = api["paths"][path][method.lower()]["responses"]
    declared = responses.get(str(reply.status), responses["default"])
    kind = reply.headers["content-type"]
    schema = declared["content"][kind]["schema"]
    registry: Any = Registry().with_resource("urn:api", DRAFT202012.create_resource(api))
    absolute = json.loads(json.dumps(schema).replace("#/components", "urn:api#/components"))
    Draft202012Validator(absolute, registry=registry).validate(reply.json)


def test_the_document_and_real_answers(sqlite_url: str, relay_at: Any, make_play: Any) -> None:
    """Every operation of the relay, accepted and refused."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            api = (await relay.request("GET", "/openapi.json")).json
            validate(api)
            assert api["openapi"].startswith("3.1")
            key = {"Authorization": f"Bearer {relay.keys.create('auditor').secret}"}
            good = await relay.submit()
            for reply in (
                good, await relay.submit(make_play(score=5420)), await relay.submit(b"{}"), await relay.submit(b"["),
                await relay.submit(b" " * 1_100_000), await relay.submit(authorization="Bearer x"),
                await relay.submit(content_type="text/plain"),
            ):  # fmt: skip
                check_answer(api, "POST", "/api/submit-score", reply)
            for path, template in (
                (good.json["links"]["self"], "/api/submissions/{submissionId}"),
                ("/api/submissions/none", "/api/submissions/{submissionId}"),
                ("/api/submissions?limit=2", "/api/submissions"),
                ("/api/submissions?limit=x", "/api/submissions"),
                (good.json["links"]["evidence"], "/api/evidence/{evidenceHash}"),
                ("/api/games/streambeat/ruleset", "/api/games/{gameId}/ruleset"),
                ("/health", "/health"),
                ("/health/ready", "/health/ready"),
                ("/health/live", "/health/live"),
                ("/audit-flags", "/audit-flags"),
            ):
                check_answer(api, "GET", template, await relay.request("GET", path, headers=key))
                refused = await relay.request("GET", path, headers={"Authorization": "Bearer fs_live_sk_wrong"})
                assert refused.status == 401
                assert "401" in api["paths"][template]["get"]["responses"]

    asyncio.run(scenario())


def test_the_document_declares_what_validates(sqlite_url: str, relay_at: Any) -> None:
    """Ranges, required fields and closed objects of the request come from the types that decode it."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            schemas = (await relay.request("GET", "/openapi.json")).json["components"]["schemas"]
            counts = schemas["Counts"]
            assert counts["additionalProperties"] is False
            assert set(counts["required"]) == {"score", "perfect", "good", "miss", "combo", "gameTime"}
            assert counts["properties"]["perfect"]["maximum"] == 10**9

    asyncio.run(scenario())


def test_the_template_writes_the_document() -> None:
    """The accepted answer's template and the document it was made from give the same bytes."""
    import msgspec
    from hypothesis import given
    from hypothesis import strategies as st

    whole = st.integers(0, 2**53 - 1)
    firsts = st.builds(
        _SAMPLE._replace,
        id=st.from_regex(r"sub_[0-9a-z]{26}", fullmatch=True),
        game_id=st.sampled_from(["streambeat", "a-b.c"]),
        player=st.binary(min_size=20, max_size=20),
        score=whole,
        round_id=st.integers(1, 2**53),
        evidence_hash=st.binary(min_size=32, max_size=32),
        rules_hash=st.sampled_from([b"\x01" * 32, b"\xff" * 32]),
        receipt_deadline=whole,
        receipt_signer=st.sampled_from([b"\x02" * 20]),
        receipt_signature=st.binary(min_size=65, max_size=65),
        answered_status=st.sampled_from([None, "accepted", "queued", "sent", "included", "final"]),
        answered_tx=st.none() | st.binary(min_size=32, max_size=32),
    )
    domain = Domain(1, b"\x03" * 20)

    @given(firsts)
    def check(first: Any) -> None:
        status, body = accepted(first, domain)
        assert body == msgspec.json.encode(document(first, domain))
        assert status == (200 if first.answered_status in {"included", "final"} else 202)

    check()
