"""What must hold of every answer to an intrusion, and of what is there after it."""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from core import ids
from tests.api.data.intrusions import ULID, Attempt, Generator
from tests.api.data.sides import MAY_READ, NOBODY, WRITERS, Side, fingerprints
from tests.api.data.world import World

PER_BATCH = 25
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_REQUEST_ID = re.compile(r'"request_id":"[0-9a-z]{26}"')
_CURSOR = re.compile(r'"(next_)?cursor":"[A-Za-z0-9_-]+"')
_ABOUT_THE_CALL: tuple[str, ...] = ("date", "x-request-id")


@dataclass
class Tally:
    """What was tried, and what came of it."""

    tried: int = 0
    twins: int = 0
    by_route: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)


class Intrusion:
    """Sends requests batch by batch and holds every answer, and what is there afterwards, against what must hold."""

    def __init__(
        self,
        world: World,
        sides: Sequence[Side],
        http: httpx.AsyncClient,
        routes: Sequence[str],
        seed: int,
    ) -> None:
        self._world = world
        self._sides = sides
        self._http = http
        self._routes = routes
        self._rng = random.Random(seed)
        self._keys_used: set[tuple[str, str]] = set()
        self._base_url = str(http.base_url).rstrip("/")
        self.tally = Tally()

    async def batch(self, kind: str) -> None:
        """Let one base's token of a kind try, and look whether anything of another base is different after it."""
        rng, tally = self._rng, self.tally
        me = rng.choice(self._sides)
        token_id = str(me.tokens[kind].id)
        before = await fingerprints(self._world, self._sides, without_token=token_id)
        sent = [await self._one(me, kind) for _ in range(PER_BATCH)]
        after = await fingerprints(self._world, self._sides, without_token=token_id)
        for side in self._sides:
            if before[side.id] != after[side.id] and (side is not me or kind not in WRITERS):
                calls = "\n  ".join(f"{a.method} {a.path} {a.params} {a.body}" for a in sent if a.is_write)
                tally.leaks.append(f"{kind} of {me.id} changed {side.id}:\n  {calls}")

    async def _one(self, me: Side, kind: str) -> Attempt:
        rng, tally = self._rng, self.tally
        reach = me.reach[kind]
        while True:
            it = rng.choice([side for side in self._sides if side is not me])
            attempt = Generator(rng, me, it, self._routes).draw()
            # Where it may go anyway is no intrusion.
            if attempt.base_id == me.id or attempt.base_id not in reach:
                break
        # What else does not exist is told by its name, and a cursor that was never given out is another refusal.
        has_twin = not attempt.names
        if attempt.is_write:
            has_twin = has_twin and (kind not in WRITERS or rng.random() < 0.5)
            if has_twin or attempt.mails:
                attempt.headers["Prefer"] = "tx=rollback"
        authorization = me.tokens[kind].headers["Authorization"]
        answer = await self._http.send(attempt.request(authorization, self._base_url, {}))
        tally.tried += 1
        tally.by_route[attempt.route] += 1
        tally.by_kind[kind] += 1
        tally.by_status[answer.status_code] += 1
        faults = self._faults(me, kind, attempt, answer)
        if has_twin:
            instead = {its: ids.new() for its in attempt.ids} | {
                its.partition("@")[0]: ids.new()[-12:] for its in attempt.mails
            }
            twin = await self._http.send(attempt.request(authorization, self._base_url, instead))
            tally.twins += 1
            if (seen := _plain(answer, {})) != (other := _plain(twin, {v: k for k, v in instead.items()})):
                faults.append(f"it answers unlike what does not exist:\n    {seen}\n    {other}")
        call = f"{kind} of {me.id}, {attempt.method} {attempt.path} {attempt.params} {attempt.headers} {attempt.body}"
        tally.leaks += [
            f"{fault}\n  {call}\n  → {answer.status_code} {answer.text[:800]}" for fault in faults
        ]
        return attempt

    def _faults(self, me: Side, kind: str, attempt: Attempt, answer: httpx.Response) -> list[str]:
        found = []
        told = f"{answer.text} {answer.headers}"
        sent = attempt.spelled
        is_own = attempt.base_id in me.reach[kind]
        for side in self._sides:
            if side is me and is_own:
                if kind not in MAY_READ and side.mark in told:
                    found.append("who may not read was told a value")
                continue
            if side.mark in told:
                found.append(f"it told a value of {side.id}")
            if side.name_mark in told and side.name_mark not in sent:
                found.append(f"it told a name of {side.id}")
            theirs = {
                *side.tasks,
                *side.people,
                side.view_id,
                *(str(t.id) for t in side.base.tables.values()),
            }
            if theirs & set(ULID.findall(told)) - set(ULID.findall(sent)):
                found.append(f"it told an id of {side.id}")
        if answer.status_code >= 500:
            found.append("it failed")
        is_page = attempt.route.endswith("/docs")
        if kind in NOBODY and not is_page and answer.status_code != 401:
            found.append("who is nobody was answered")
        if kind not in WRITERS and attempt.is_write and answer.status_code not in (401, 403, 404):
            found.append("a reader's write was looked at")
        if attempt.base_id != me.id and not is_page and answer.status_code not in (401, 404):
            found.append("another's base was there")
        key = (str(me.tokens[kind].id), attempt.headers.get("Idempotency-Key", ""))
        if key[1] and key not in self._keys_used and ("idempotency" in told.lower()):
            found.append("another's key was known")
        self._keys_used.add(key)
        return found


def _plain(answer: httpx.Response, instead: dict[str, str]) -> tuple[int, str, str]:
    """Return an answer without what differs from call to call."""
    text = answer.text
    for given, other in instead.items():
        text = text.replace(given, other)
    text = _CURSOR.sub('"cursor"', _REQUEST_ID.sub('"request_id"', text))
    apart = _ABOUT_THE_CALL
    if answer.is_success or answer.status_code == 410:
        # A moment is written without zeros at its end, so the length is not always the same.
        text, apart = _MOMENT.sub("moment", text), (*apart, "content-length")
    headers = str(sorted(each for each in answer.headers.multi_items() if each[0] not in apart))
    if answer.is_success and answer.request.method != "GET":
        # Each makes records of its own.
        text, headers = ULID.sub("id", text), ULID.sub("id", headers)
    return answer.status_code, headers, text
