"""stream.js: parsing, folding, and when a subscription resumes or starts over."""

import random
from typing import Any

import pytest
from playwright.sync_api import Page

PARSE = """async (chunks) => {
    const { eventStreamParser } = await import('/stream.js');
    const events = [];
    const feed = eventStreamParser((event) => events.push(event));
    for (const chunk of chunks) feed(chunk);
    return events;
}"""
FOLD = """async (events) => {
    const { foldStandings } = await import('/stream.js');
    return events.reduce(foldStandings, null);
}"""
# A server in miniature behind the `fetch` the client is given: each connection plays the next script and then stays
# open, ends, or answers with a status. What real sockets do is tested against the real server in test_page_live.py.
SUBSCRIBE = """async ({scripts, silenceMsMax}) => {
    const { Fairscore } = await import('/fairscore.js');
    const asked = [], statuses = [], seen = [], handed = [];
    const fetch = async (url, { signal }) => {
        const script = scripts[Math.min(asked.length, scripts.length - 1)];
        asked.push({ after: new URL(url).searchParams.get('after'), at: performance.now() });
        if (script.status) return new Response('{}', { status: script.status, headers: script.headers });
        const body = new ReadableStream({ start(out) {
            signal.addEventListener('abort', () => out.error(signal.reason));
            for (const chunk of script.chunks) out.enqueue(new TextEncoder().encode(chunk));
            if (script.ends) out.close();
        } });
        return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
    };
    const client = new Fairscore({ baseUrl: 'http://relay.invalid', fetch });
    await new Promise((resolve) => {
        const subscription = client.subscribe({
            silenceMsMax,
            onEvent: (event) => seen.push(`${event.type} ${event.seq}`),
            onStandings: (standings) => handed.push(standings),
            onStatus: ({ state }) => {
                statuses.push(state);
                const isLast = asked.length >= scripts.length && (state === 'live' || state === 'failed');
                if (isLast) setTimeout(() => { subscription.close(); resolve(); }, 50);
            },
        });
    });
    return { after: asked.map(({ after }) => after), at: asked.map(({ at }) => at), statuses, seen, handed };
}"""


def row(player: str, score: int | str, block: int, index: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "rank": 0,
        "player": player,
        "score": score,
        "position": [block, index],
        "roundId": block,
        "status": "included",
        **more,
    }


def snapshot(seq: int, rows: list[dict[str, Any]], total: int | None = None, epoch: str = "e1") -> dict[str, Any]:
    count = len(rows) if total is None else total
    return {
        "type": "snapshot",
        "seq": seq,
        "epoch": epoch,
        "rows": rows,
        "total": count,
        "blockNumber": 1,
        "gameId": "g",
    }


def standing(seq: int, entry: dict[str, Any], previous: int | None, rank: int | None = 1) -> dict[str, Any]:
    return {
        **entry,
        "type": "standing",
        "seq": seq,
        "gameId": "g",
        "board": "default",
        "previousRank": previous,
        "rank": rank,
    }


def as_text(event: dict[str, Any], epoch: str = "e1") -> str:
    import json

    return f"id: {epoch}-{event['seq']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"


def places(state: dict[str, Any]) -> list[tuple[int, str, int]]:
    return [(entry["rank"], entry["player"], entry["score"]) for entry in state["rows"]]


TEXT = (
    "\ufeff: heartbeat\n\nid: e-1\nevent: score\ndata: one\n\n"
    "data:two\r\ndata:  lines\r\n\r\nid: e-2\rdata: three\r\rretry: 5\nevent: lost\n\nunknown: x\ndata\n\ndata: cut"
)
PARSED = [
    {"id": "e-1", "event": "score", "data": "one"},
    {"id": "e-1", "event": "message", "data": "two\n lines"},
    {"id": "e-2", "event": "message", "data": "three"},
    {"id": "e-2", "event": "message", "data": ""},
]


def test_the_parser_follows_the_standard(blank: Page) -> None:
    assert blank.evaluate(PARSE, [TEXT]) == PARSED


def test_the_parser_may_be_cut_anywhere(blank: Page) -> None:
    source = random.Random(1)
    for _ in range(20):
        cuts = sorted(source.sample(range(len(TEXT)), 12))
        chunks = [TEXT[start:end] for start, end in zip([0, *cuts], [*cuts, len(TEXT)], strict=True)]
        assert blank.evaluate(PARSE, chunks) == PARSED
    assert blank.evaluate(PARSE, list(TEXT)) == PARSED


def test_ranks_are_by_score_then_by_place_on_the_chain(blank: Page) -> None:
    rows = [row("a", 10, 5), row("b", 30, 9), row("c", 30, 2, 1), row("d", 30, 2, 0)]
    assert places(blank.evaluate(FOLD, [snapshot(1, rows)])) == [(1, "d", 30), (2, "c", 30), (3, "b", 30), (4, "a", 10)]


def test_scores_beyond_double_precision_rank_exactly(blank: Page) -> None:
    rows = [row("a", "9007199254740993", 1), row("b", "9007199254740994", 2), row("c", 9007199254740991, 3)]
    assert [entry["player"] for entry in blank.evaluate(FOLD, [snapshot(1, rows)])["rows"]] == ["b", "a", "c"]


def test_a_new_best_moves_a_player_and_shifts_the_others(blank: Page) -> None:
    first = snapshot(1, [row("a", 30, 1), row("b", 20, 2), row("c", 10, 3)])
    state = blank.evaluate(FOLD, [first, standing(2, row("c", 25, 9), 3), standing(3, row("d", 25, 10), None)])
    assert places(state) == [(1, "a", 30), (2, "c", 25), (3, "d", 25), (4, "b", 20)]
    assert (state["total"], state["seq"], state["blockNumber"]) == (4, 3, 10)


def test_the_total_is_the_servers_where_it_says_one(blank: Page) -> None:
    state = blank.evaluate(FOLD, [snapshot(1, [row("a", 30, 1)]), {**standing(2, row("b", 20, 2), None), "total": 7}])
    assert state["total"] == 7
    assert "total" not in state["rows"][1]


def test_a_removed_player_leaves(blank: Page) -> None:
    first = snapshot(1, [row("a", 30, 1), row("b", 20, 2)])
    state = blank.evaluate(FOLD, [first, standing(2, row("a", 30, 1), 1, rank=None)])
    assert places(state) == [(1, "b", 20)]
    assert state["total"] == 1


def test_rows_below_the_followed_top_stay_out(blank: Page) -> None:
    """Of a longer board only the top is known: a player who enters below it has no rank we could compute."""
    top = snapshot(1, [row("a", 30, 1), row("b", 20, 2)], total=500)
    outside = standing(2, row("x", 19, 3), None, rank=400)
    inside = standing(3, row("y", 25, 4), 400, rank=2)
    state = blank.evaluate(FOLD, [top, outside, inside])
    assert places(state) == [(1, "a", 30), (2, "y", 25)]
    assert state["total"] == 501


def test_a_row_that_falls_out_of_the_followed_top_is_dropped(blank: Page) -> None:
    top = snapshot(1, [row("a", 30, 1), row("b", 20, 2)], total=500)
    state = blank.evaluate(FOLD, [top, standing(2, row("a", 1, 1), 1, rank=499)])
    assert places(state) == [(1, "b", 20)]
    assert state["total"] == 500


def test_finality_and_retraction_mark_the_row(blank: Page) -> None:
    first = snapshot(1, [row("a", 30, 7), row("b", 20, 8)])
    final = {"type": "final", "seq": 2, "gameId": "g", "scoreIds": ["g:7"], "blockNumber": 9}
    retract = {
        "type": "retract",
        "seq": 3,
        "gameId": "g",
        "scoreId": "g:8",
        "player": "b",
        "roundId": 8,
        "reason": "reorg",
    }
    state = blank.evaluate(FOLD, [first, final, retract])
    assert [entry["status"] for entry in state["rows"]] == ["final", "retracted"]


def test_any_history_folds_to_the_sorted_bests(blank: Page) -> None:
    """Model test: 400 random plays of 30 players against sorting everyone's best."""
    source = random.Random(2652)
    bests: dict[str, tuple[int, int]] = {}
    events = [snapshot(0, [])]
    for block in range(1, 401):
        player, score = f"p{source.randrange(30)}", source.randrange(50)
        if player in bests and bests[player][0] >= score:
            continue
        events.append(standing(len(events), row(player, score, block), 1 if player in bests else None))
        bests[player] = (score, block)
    state = blank.evaluate(FOLD, events)
    expected = sorted(bests, key=lambda player: (-bests[player][0], bests[player][1]))
    assert [entry["player"] for entry in state["rows"]] == expected
    assert [entry["rank"] for entry in state["rows"]] == list(range(1, len(expected) + 1))
    assert state["total"] == len(expected)


def test_backoff_grows_jitters_and_obeys_the_server(blank: Page) -> None:
    delays = blank.evaluate(
        """async () => {
            const { backoffMs } = await import('/fairscore.js');
            const at = (random) => [0, 1, 2, 20].map((attempt) => backoffMs(attempt, random));
            return { low: at(0), high: at(0.999), told: [backoffMs(0, 0, 7000), backoffMs(9, 0.5, 7000)] };
        }"""
    )
    assert delays["low"] == [125, 250, 500, 7500]
    assert all(low < high <= 2 * low for low, high in zip(delays["low"], delays["high"], strict=True))
    assert delays["told"][0] == 7000
    assert 7000 < delays["told"][1] < 7500


def run(blank: Page, *scripts: dict[str, Any], silence_ms_max: int = 5000) -> dict[str, Any]:
    result: dict[str, Any] = blank.evaluate(SUBSCRIBE, {"scripts": scripts, "silenceMsMax": silence_ms_max})
    return result


def test_a_subscription_resumes_after_its_last_event(blank: Page) -> None:
    first = [as_text(snapshot(4, [row("a", 1, 1)])), as_text(standing(5, row("b", 2, 2), None))]
    again = [as_text(standing(5, row("b", 2, 2), None)), as_text(standing(6, row("c", 3, 3), None))]
    told = run(blank, {"chunks": first, "ends": True}, {"chunks": again})
    assert told["after"] == [None, "e1-5"]
    assert told["seen"] == ["snapshot 4", "standing 5", "standing 6"]  # the repeated 5 is not told twice
    assert told["statuses"] == ["connecting", "live", "reconnecting", "live", "closed"]
    assert [entry["player"] for entry in told["handed"][-1]["rows"]] == ["c", "b", "a"]


def test_a_gap_is_noticed_and_the_board_read_anew(blank: Page) -> None:
    lost = [as_text(snapshot(4, [row("a", 1, 1)])), as_text(standing(6, row("c", 3, 3), None))]
    fresh = [as_text(snapshot(6, [row("b", 2, 2), row("c", 3, 3), row("a", 1, 1)]))]
    told = run(blank, {"chunks": lost}, {"chunks": fresh})
    assert told["after"] == [None, None]
    assert told["seen"] == ["snapshot 4", "snapshot 6"]
    assert [entry["player"] for entry in told["handed"][-1]["rows"]] == ["c", "b", "a"]


def test_another_epoch_is_a_gap(blank: Page) -> None:
    other = as_text(standing(5, row("x", 9, 9), None), epoch="e2")
    told = run(
        blank, {"chunks": [as_text(snapshot(4, [])), other]}, {"chunks": [as_text(snapshot(0, [], epoch="e2"), "e2")]}
    )
    assert told["after"] == [None, None]
    assert told["handed"][-1]["epoch"] == "e2"


def test_a_refused_cursor_is_not_repeated(blank: Page) -> None:
    fresh = {"chunks": [as_text(snapshot(4, []))], "ends": True}
    told = run(blank, fresh, {"status": 410}, {"chunks": [as_text(snapshot(9, []))]})
    assert told["after"] == [None, "e1-4", None]


def test_retry_after_is_honoured(blank: Page) -> None:
    told = run(blank, {"status": 503, "headers": {"Retry-After": "1"}}, {"chunks": [as_text(snapshot(1, []))]})
    assert 1000 <= told["at"][1] - told["at"][0] < 2000


def test_silence_is_stale_and_reconnects(blank: Page) -> None:
    told = run(blank, {"chunks": [as_text(snapshot(1, []))]}, {"chunks": [": heartbeat\n\n"]}, silence_ms_max=300)
    assert told["statuses"][:4] == ["connecting", "live", "stale", "live"]
    assert told["after"] == [None, "e1-1"]


def test_an_unknown_board_fails_for_good(blank: Page) -> None:
    assert run(blank, {"status": 404})["statuses"] == ["connecting", "failed", "closed"]


@pytest.mark.parametrize("remaining", [49, 50])
def test_a_depleted_top_asks_for_a_new_snapshot(blank: Page, remaining: int) -> None:
    rows = [row(f"p{index}", 1000 - index, index) for index in range(remaining)]
    state = {"rows": rows, "total": 500, "window": 100}
    answer = blank.evaluate("async (state) => (await import('/stream.js')).isDepleted(state)", state)
    assert answer is (remaining < 50)
