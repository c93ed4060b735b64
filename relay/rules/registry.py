"""All rulesets, in one visible table; third parties add theirs by the entry point group `fairscore.rulesets`.

Pure, except that `ruleset` reads the installed packages' entry points for an id that is not in the table.
"""

import re
from collections.abc import Mapping
from importlib.metadata import entry_points

import msgspec

from relay.rules import streambeat
from relay.rules.ruleset import BoundRuleset, Ruleset, RulesetError
from relay.strict_json import Request

RULESET_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}@[0-9]{1,6}")
ENTRY_POINT_GROUP = "fairscore.rulesets"

RULESETS: dict[str, Ruleset] = {
    streambeat.RULESET.id: streambeat.RULESET,
}


def ruleset(ruleset_id: str) -> Ruleset:
    """Return the ruleset of that id.

    Raises:
        RulesetError: neither this package nor an installed one provides it, or what is provided is not fit to judge.
    """
    if (found := RULESETS.get(ruleset_id)) is not None:
        return found
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == ruleset_id:
            return checked(entry.load(), ruleset_id)
    raise RulesetError(f"no ruleset named {ruleset_id}: this program knows {', '.join(RULESETS)}")


def checked(candidate: object, ruleset_id: str) -> Ruleset:
    """Return `candidate` if it is a ruleset of that id whose claim is read strictly."""
    if not isinstance(candidate, Ruleset) or candidate.id != ruleset_id:
        raise RulesetError(f"the entry point {ruleset_id} does not provide a Ruleset of that id")
    if not issubclass(candidate.claim, Request):
        raise RulesetError(f"the claim of {ruleset_id} must derive from relay.strict_json.Request")
    if RULESET_ID.fullmatch(ruleset_id) is None:
        raise RulesetError(f"a ruleset's id is like name@1, not {ruleset_id!r}")
    config = candidate.claim.__struct_config__
    if not (config.forbid_unknown_fields and config.omit_defaults):
        raise RulesetError(f"the claim of {ruleset_id} must forbid unknown fields and omit defaults")
    if "score" not in {field.encode_name for field in msgspec.structs.fields(candidate.claim)}:
        raise RulesetError(f"the claim of {ruleset_id} has no score")
    return candidate


def bind(
    ruleset_id: str, parameters: Mapping[str, object] | None = None, switches: Mapping[str, str] | None = None
) -> BoundRuleset:
    """Return the ruleset of that id with a game's parameters and switches (defaults where none are given)."""
    return BoundRuleset(ruleset(ruleset_id), parameters or {}, switches or {})
