"""Settings of an economy: defaults, replacing, patching, and what is refused."""

from typing import Any

import pytest

from relay.economy.config import DEFAULTS, merge_patch, patched, read, replaced
from relay.errors import PayloadError


def test_the_defaults_are_those_of_the_api() -> None:
    config = read(DEFAULTS, 0)
    assert (config.enabled, config.max_transaction_amount, config.laundering_threshold) == (True, 1_000_000, 5)
    assert (config.velocity_multiplier, config.marketplace_tax_bps) == (10, 0)
    limits = [config.rate_limit(action) for action in ("grant", "craft", "marketplace_list", "transfer")]
    assert limits == [60, 10, 5, 60]
    assert config.amount_limit("grant") is None


# RFC 7396, appendix A, all of it.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


def test_limits_merge_into_the_defaults() -> None:
    document = replaced({"rateLimits": {"grant": 30}, "marketplaceTaxBps": 250})
    assert document["rateLimits"] == {"default": 60, "craft": 10, "marketplace_list": 5, "grant": 30}
    assert document["marketplaceTaxBps"] == 250
    assert read(document, 1).rate_limit("grant") == 30


def test_a_patch_changes_what_it_names_and_null_is_the_default_again() -> None:
    document = patched(DEFAULTS, {"rateLimits": {"craft": 20, "spend": 7}, "amountPerWindow": {"grant": 500}})
    document = patched(document, {"rateLimits": {"craft": None, "spend": None}, "enabled": False})
    assert document["rateLimits"] == DEFAULTS["rateLimits"]
    assert (document["enabled"], document["amountPerWindow"]) == (False, {"grant": 500})
    assert patched(document, {"enabled": None, "amountPerWindow": None}) == DEFAULTS


def test_a_default_of_all_actions_and_one_of_its_own() -> None:
    config = read(patched(DEFAULTS, {"amountPerWindow": {"default": 500, "grant": 900}}), 1)
    assert (config.amount_limit("spend"), config.amount_limit("grant")) == (500, 900)


@pytest.mark.parametrize(
    ("patch", "pointer", "code"),
    [
        ({"enabled": 1}, "/enabled", "FIELD_INVALID"),
        ({"maxTransactionAmount": 0}, "/maxTransactionAmount", "FIELD_INVALID"),
        ({"maxTransactionAmount": 2**53}, "/maxTransactionAmount", "FIELD_INVALID"),
        ({"maxTransactionAmount": True}, "/maxTransactionAmount", "FIELD_INVALID"),
        ({"maxTransactionAmount": 1.0}, "/maxTransactionAmount", "FIELD_INVALID"),
        ({"launderingThreshold": 1}, "/launderingThreshold", "FIELD_INVALID"),
        ({"velocityMultiplier": "10"}, "/velocityMultiplier", "FIELD_INVALID"),
        ({"marketplaceTaxBps": 10_001}, "/marketplaceTaxBps", "FIELD_INVALID"),
        ({"rateLimits": 60}, "/rateLimits", "FIELD_INVALID"),
        ({"rateLimits": {"grant": 0}}, "/rateLimits/grant", "FIELD_INVALID"),
        ({"rateLimits": {"grant": {"a": 1}}}, "/rateLimits/grant", "FIELD_INVALID"),
        ({"rateLimits": {"garnt": 5}}, "/rateLimits/garnt", "FIELD_UNKNOWN"),
        ({"amountPerWindow": {"grant": -1}}, "/amountPerWindow/grant", "FIELD_INVALID"),
        ({"rateLimit": {}}, "/rateLimit", "FIELD_UNKNOWN"),
        ({"a/b~\ud800": 1}, "/a~1b~0\\ud800", "FIELD_UNKNOWN"),
    ],
)
def test_what_is_refused_is_named(patch: Any, pointer: str, code: str) -> None:
    with pytest.raises(PayloadError) as of_patch:
        patched(DEFAULTS, patch)
    with pytest.raises(PayloadError) as of_put:
        replaced(patch)
    for refused in (of_patch, of_put):
        assert [(field.pointer, field.code) for field in refused.value.fields] == [(pointer, code)]
        assert refused.value.status == 400


def test_everything_wrong_is_named_at_once() -> None:
    with pytest.raises(PayloadError) as refused:
        replaced({"enabled": "yes", "marketplaceTaxBps": -1, "typo": 1})
    assert len(refused.value.fields) == 3


@pytest.mark.parametrize("patch", [None, [], "x", 1])
def test_a_patch_is_an_object(patch: object) -> None:
    with pytest.raises(PayloadError, match="object"):
        patched(DEFAULTS, patch)


def test_settings_made_later_have_their_default_in_older_versions() -> None:
    older = {name: value for name, value in DEFAULTS.items() if name != "amountPerWindow"}
    assert read(older, 3).amount_per_window == {}
