"""Fixtures of the contract's tests: everything runs on the embedded chain and on anvil."""

from collections.abc import Iterator

import pytest

from relay.contract import game_key
from tests.harness.chains import Board, Chain, open_chain


@pytest.fixture(scope="session", params=["eth-tester", "anvil"])
def chain(request: pytest.FixtureRequest) -> Iterator[Chain]:
    """A chain that mines at once; shared, because boards do not see each other."""
    with open_chain(request.param) as opened:
        yield opened


@pytest.fixture
def board(chain: Chain) -> Board:
    """A board of this test's own."""
    return Board(chain, game_key("streambeat"))
