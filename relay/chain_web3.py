"""web3 over this package's own endpoint client: for what is asked seldom, and for scripts that know web3's interface.

Touches the endpoint through the `Requests` it is handed, which keeps limits, Retry-After and secrets as everywhere. The
only web3 of this package: its own transport drops the bodies of HTTP errors, in which endpoints explain themselves, and
its formatters cost several times our decoding, so no hot path goes through here.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from web3 import AsyncWeb3
from web3.exceptions import Web3Exception
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from relay.chain_types import ChainAnswerError

NOTHING_SAID = "names no version"


class Requests(Protocol):
    """What is needed of an endpoint (`relay.chain.Chain`)."""

    async def request(self, method: str, *params: object) -> Any:
        """One JSON-RPC call; returns its `result`."""


class Node(NamedTuple):
    """What a node says of itself: name and version, and how many blocks it still has to catch up (None: it is not)."""

    version: str
    blocks_left: int | None


class EndpointProvider(AsyncJSONBaseProvider):
    """A web3 provider whose requests go through our client; its errors are the client's, JSON-RPC errors web3's own."""

    def __init__(self, endpoint: Requests) -> None:
        super().__init__()
        self._endpoint = endpoint

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """One call, answered as web3 expects it."""
        request = self.form_request(method, params)
        try:
            result = await self._endpoint.request(method, *params)
        except ChainAnswerError as error:
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": error.code, "message": error.message}}
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    async def make_batch_request(self, batch_requests: Sequence[tuple[RPCEndpoint, Any]]) -> list[RPCResponse]:
        """Calls one by one: how many an endpoint takes at once is the client's knowledge."""
        return [await self.make_request(method, params) for method, params in batch_requests]


def web3_over(endpoint: Requests) -> AsyncWeb3[EndpointProvider]:
    """Return web3 with everything it offers, over this endpoint."""
    return AsyncWeb3(EndpointProvider(endpoint))


async def node(endpoint: Requests) -> Node:
    """Ask a node what it is and whether it is still catching up; one that does not tell is taken at its head.

    Raises ChainUnavailableError where it does not answer.
    """
    web3 = web3_over(endpoint)
    try:
        version = str(await web3.client_version)
    except Web3Exception:
        version = NOTHING_SAID
    try:
        syncing = await web3.eth.syncing
    except Web3Exception:
        syncing = False
    if isinstance(syncing, bool):
        return Node(version, None)
    return Node(version, max(0, int(syncing["highestBlock"]) - int(syncing["currentBlock"])))
