"""The corpus of named bad inputs: each is a 4xx with its code, and nothing of it is stored."""

import asyncio
import json
from pathlib import Path
from typing import Any

from sqlalchemy import text

CORPUS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "bad_inputs.json").read_text())
FORMS = [{}, {"content-type": "application/json"}, {"content-type": "application/json; charset=utf-8"}]


def body_of(case: dict[str, Any]) -> bytes:
    """The bytes of a case."""
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    unit, times = case.get("repeat", ["", 0])
    text_ = f"{case.get('prefix', '')}{case.get('body', '')}{unit * times}{case.get('suffix', '')}"
    return text_.encode()


def test_every_bad_input(database_url: str, relay_at: Any) -> None:
    """4xx, the code, the pointer; problem+json with what existing clients read; no row anywhere."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            for case in CORPUS:
                reply = await relay.request("POST", "/api/submit-score", body_of(case), FORMS[len(case["name"]) % 3])
                assert reply.status == case["status"], case["name"]
                problem = reply.json
                assert reply.headers["content-type"] == "application/problem+json"
                assert problem["code"] == case["code"], case["name"]
                assert problem["success"] is False
                assert problem["error"]
                assert problem["reason"] == problem["detail"]
                assert problem["requestId"] == reply.headers["x-request-id"]
                assert problem["type"] == f"/problems/{case['code']}"
                if "pointer" in case:
                    assert case["pointer"] in [field["pointer"] for field in problem["errors"]], case["name"]
            for table in ("submissions", "evidence WHERE hash NOT IN (SELECT rules_hash FROM submissions)", "history"):
                statement = text(f"SELECT count(*) FROM {table}")  # the ruleset's document is evidence, too
                count = await relay.database.read(lambda c, s=statement: c.scalar(s))
                assert count == (1 if table.startswith("evidence") else 0)

    asyncio.run(scenario())


def test_names_are_unique() -> None:
    """A failing case can be found by its name."""
    assert len({case["name"] for case in CORPUS}) == len(CORPUS) >= 60
