"""`POST /devnet/rpc`: the embedded chain's JSON-RPC on the public port, so that wallets, viem and `cast` can use it.

Touches the embedded chain's loopback port. Registered only when there is an embedded chain; passes calls and batches
on as they are and judges nothing.
"""

from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from relay.api.operations import Answer, Call, Operation, Response

PATH = "/devnet/rpc"
BODY_MAX = 4 * 1024 * 1024
TIMEOUT_S = 60.0
AWAY = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"the embedded chain does not answer"}}'


class DevnetProxy:
    """One upstream. Close it at the end."""

    def __init__(self, rpc_url: str) -> None:
        self._rpc_url = rpc_url
        self._session: ClientSession | None = None

    def operations(self) -> list[Operation]:
        """What to serve."""
        return [
            Operation(
                method="POST",
                path=PATH,
                summary="JSON-RPC of the embedded chain",
                description="Ethereum JSON-RPC 2.0, single calls and batches. Development only.",
                endpoint=self._forward,
                request=Any,
                raw_body=True,
                body_max=BODY_MAX,
                responses={200: Response(Any, "The JSON-RPC answer; its errors are inside, as JSON-RPC has it.")},
                errors=("BODY_TOO_LARGE",),
                tag="Devnet",
                operation_id="devnetRpc",
            )
        ]

    async def _forward(self, call: Call) -> Answer:
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._session.post(
                self._rpc_url, data=call.body, headers={"content-type": "application/json"}
            ) as answer:
                return Answer(answer.status, await answer.read())
        except (ClientError, TimeoutError):
            return Answer(503, AWAY)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
