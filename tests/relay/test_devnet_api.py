"""`POST /devnet/rpc`: the proxy passes calls and batches on, limits bodies, and says when the chain is away."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2

from relay.api.asgi import Api
from relay.api.devnet import BODY_MAX, PATH, DevnetProxy
from relay.devnet import Devnet
from relay.games import GameConfig, Games


def test_the_proxy(tmp_path: Path) -> None:
    async def run() -> None:
        devnet = await Devnet.start(tmp_path)
        proxy = DevnetProxy(devnet.rpc_url)
        api = Api(proxy.operations(), origins=Games([GameConfig("any", allowed_origins=("*",))]))
        transport = httpx2.ASGITransport(app=api)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:

            async def post(body: Any) -> httpx2.Response:
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                return await client.post(
                    PATH, content=content, headers={"content-type": "application/json", "origin": "http://page"}
                )

            call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
            answer = await post(call)
            assert answer.json() == {"jsonrpc": "2.0", "id": 1, "result": hex(devnet.chain_id)}
            assert answer.headers["access-control-allow-origin"] == "*"
            assert [one["id"] for one in (await post([call, {**call, "id": 2}])).json()] == [1, 2]
            assert (await post(b" " * (BODY_MAX + 1))).status_code == 413
            preflight = await client.options(
                PATH, headers={"origin": "http://page", "access-control-request-method": "POST"}
            )
            assert "POST" in preflight.headers["access-control-allow-methods"]
            await devnet.stop()
            away = await post(call)
            assert away.status_code == 503
            assert away.json()["error"]["code"] == -32603
        await proxy.close()

    asyncio.run(run())
