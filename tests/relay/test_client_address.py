"""Whose request it is: X-Forwarded-For is believed from named proxies only, hop by hop from the last."""

import pytest

from relay.client_address import Proxies, limited_as

ONE, TWO = "10.0.0.1", "10.0.0.2"


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ((), ONE, ["9.9.9.9"], ONE),  # nobody is trusted: anybody can send it
        ((ONE,), "8.8.8.8", ["9.9.9.9"], "8.8.8.8"),
        ((ONE,), ONE, [], ONE),
        ((ONE,), ONE, ["9.9.9.9"], "9.9.9.9"),
        ((ONE,), ONE, ["1.1.1.1, 9.9.9.9"], "9.9.9.9"),  # what the client wrote itself stands first
        ((ONE,), ONE, ["1.1.1.1", "9.9.9.9"], "9.9.9.9"),  # in two fields
        ((ONE,), ONE, [f"1.1.1.1, 9.9.9.9, {TWO}"], TWO),
        (("10.0.0.0/8",), ONE, [f"1.1.1.1, 9.9.9.9, {TWO}"], "9.9.9.9"),
        (("10.0.0.0/8",), ONE, [f"{TWO}"], TWO),  # all are proxies: the first of them
        ((ONE,), ONE, ["1.1.1.1, nonsense"], ONE),
        ((ONE,), ONE, ["1.1.1.1, unknown, 9.9.9.9"], "9.9.9.9"),
        ((ONE,), ONE, ["9.9.9.9:1234"], "9.9.9.9"),
        ((ONE,), ONE, ["[2001:db8::1]:1234"], "2001:db8::1"),
        ((ONE,), ONE, [""], ONE),
        ((ONE,), ONE, ["é"], ONE),
        (("::1",), "::1", ["2001:db8::1"], "2001:db8::1"),
        (("10.0.0.1",), "::ffff:10.0.0.1", ["9.9.9.9"], "9.9.9.9"),  # a socket for both families shows it so
        ((), "fe80::1%eth0", [], "fe80::1"),
        ((), "/run/relay.sock", [], None),
        ((), None, [], None),
    ],
)
def test_whose_request_it_is(trusted: tuple[str, ...], peer: str | None, forwarded: list[str], client: str) -> None:
    """Each named case."""
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    assert Proxies(trusted).client(peer, headers) == client


def test_a_header_without_end_costs_no_time() -> None:
    """Only so many hops are looked at."""
    headers = [(b"x-forwarded-for", b", ".join([b"10.0.0.2"] * 5_000))]
    assert Proxies(["10.0.0.0/8"]).client(ONE, headers) == TWO


def test_a_wrong_proxy_is_refused_at_start() -> None:
    """Neither address nor network."""
    with pytest.raises(ValueError, match="proxy"):
        Proxies(["proxy.example"])


@pytest.mark.parametrize(
    ("address", "subject"),
    [("9.9.9.9", "9.9.9.9"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("127.0.0.1", None), ("::1", None),
     ("127.8.8.8", None)],
)  # fmt: skip
def test_what_one_limit_is_for(address: str, subject: str | None) -> None:
    """An IPv4 address, an IPv6 /64, never loopback."""
    assert limited_as(address) == subject
