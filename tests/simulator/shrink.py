"""Cuts a failing script down to what it needs to fail.

Pure but for the lives it runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tests.simulator.life import run
from tests.simulator.script import GRAVE_KINDS, NEED_DEDUPE, Script

PLAIN: Mapping[str, object] = {
    "processes": 1, "keys": 1, "providers": 1, "delegated": False, "estimate": False, "games": 1, "latency_s": 0.0,
    "poison": (), "legacy": False, "tag": False, "steal": False, "block_s": 1.0, "dedupe": False,
}  # fmt: skip


def shrink(script: Script) -> Script:
    """Leave out, one after the other, whatever the script fails without."""
    while (smaller := next((one for one in _smaller(script) if run(one).broken), None)) is not None:
        script = smaller
    return script


def _smaller(script: Script) -> Iterator[Script]:
    for index in range(len(script.troubles)):
        yield replace(script, troubles=script.troubles[:index] + script.troubles[index + 1 :])
    for index in range(len(script.kills)):
        yield replace(script, kills=script.kills[:index] + script.kills[index + 1 :])
    for index in range(len(script.stops)):
        yield replace(script, stops=script.stops[:index] + script.stops[index + 1 :])
    for index, (at, count) in enumerate(script.work):
        if len(script.work) > 1:
            yield replace(script, work=script.work[:index] + script.work[index + 1 :])
        if count > 1:
            yield replace(script, work=(*script.work[:index], (at, count // 2), *script.work[index + 1 :]))
    grave = any(trouble.kind in GRAVE_KINDS for trouble in script.troubles)
    carried = any(trouble.kind in NEED_DEDUPE for trouble in script.troubles)
    for name, value in PLAIN.items():
        unfair = (grave and name == "providers") or (carried and name == "dedupe")
        if getattr(script, name) != value and not unfair:
            yield replace(script, **{name: value})  # type: ignore[arg-type]
