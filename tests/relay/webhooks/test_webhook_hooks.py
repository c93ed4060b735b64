"""How hooks are declared: what is refused, and that no refusal shows an address or a secret."""

from pathlib import Path
from typing import get_args

import pytest

from relay.api.submissions import Status
from relay.errors import StartupError
from relay.webhooks.hooks import STATUSES, hooks_of

GOOD = {"url": "https://board.example/in", "secret_file": "board.secret"}


def test_a_hook_is_what_it_was_declared() -> None:
    tables: dict[str, dict[str, object]] = {
        "b": {**GOOD, "game": "chess", "statuses": ["final", "revoked"], "timeout_s": 2.5},
        "a": {"url": "http://[::1]:8080", "secret_file": "~/x"},
    }
    first, second = hooks_of(tables)
    assert (first.name, first.game, first.statuses, first.timeout_s) == ("a", None, None, 15)
    assert first.secret_file == Path("~/x").expanduser()
    assert (second.game, second.statuses, second.timeout_s) == ("chess", frozenset({"final", "revoked"}), 2.5)
    assert (first.shown, second.shown) == ("http://[::1]:8080", "https://board.example/…")
    assert first.target != second.target
    assert hooks_of({}) == []


@pytest.mark.parametrize("network", ["http://127.0.0.1:1/x", "http://10.0.0.1/", "http://localhost", "https://x.local"])
def test_any_network_is_the_operators_own_decision(network: str) -> None:
    """Nobody but the operator can declare a hook, so there is nobody to protect an internal network from."""
    (hook,) = hooks_of({"a": {**GOOD, "url": network}})
    assert hook.url == network


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("a", {"url": None}, "url is an address"),
        ("a", {"url": "ftp://x/T0KEN"}, "url is an address"),
        ("a", {"url": "https:///T0KEN"}, "url is an address"),
        ("a", {"url": "https://user:T0KEN@x/"}, "without user and password"),
        ("a", {"url": "https://x:99999/T0KEN"}, "url is an address"),
        ("a", {"url": "https://x:0/T0KEN"}, "url is an address"),
        ("a", {"url": "https://x/T0KEN y"}, "url is an address"),
        ("a", {"url": "https://x/T0KEN\r\nhost: y"}, "url is an address"),
        ("a", {"secret_file": ""}, "secret_file names"),
        ("a", {"secret_file": 7}, "secret_file names"),
        ("a", {"game": 7}, "game is"),
        ("a", {"statuses": []}, "statuses is a list"),
        ("a", {"statuses": ["done"]}, "accepted, rejected"),
        ("a", {"statuses": "final"}, "statuses is a list"),
        ("a", {"timeout_s": 0}, "timeout_s is"),
        ("a", {"timeout_s": 61}, "timeout_s is"),
        ("a", {"timeout_s": True}, "timeout_s is"),
        ("a", {"secret": "whsec_T0KEN"}, "'secret' is no setting"),
        ("a b", {}, "a name is"),
        ("", {}, "a name is"),
    ],
)
def test_what_cannot_work_is_refused_by_name(name: str, change: dict[str, object], text: str) -> None:
    with pytest.raises(StartupError, match=text) as refusal:
        hooks_of({name: {**GOOD, **change}})
    assert "T0KEN" not in str(refusal.value)


def test_every_status_of_the_api_can_be_wanted() -> None:
    assert set(STATUSES) == set(get_args(Status))
