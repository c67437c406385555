"""Clients that write records without a pause, each call under its own key until it is answered, and their own books."""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "Name", "type": "text", "required": True},
    {"name": "Note", "type": "text"},
    {"name": "Count", "type": "integer"},
    {"name": "Code", "type": "text", "unique": True},
)
CODES = [f"code {n}" for n in range(24)]
CLIENTS = 12
BURST = 8
HOT = 6
PATIENCE_S = 120
_DONE = frozenset({200, 201, 207})
# What may be said of a call in the end. (A record may be gone or changed by another, a code may be taken.)
_REFUSALS = frozenset({(404, "not_found"), (409, "duplicate_value"), (412, "precondition_failed")})


@dataclass(frozen=True)
class Answer:
    """What a call was answered, but for what is each attempt's own."""

    status: int
    body: Any
    etag: str | None
    location: str | None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was said of each record that was written."""
        return [row for row in self.body.get("records", [self.body]) if "error" not in row]


@dataclass
class Call:
    """One change. Every value of `Note` that it writes is its `mark`; its key is also that of another token's call."""

    kind: str
    mark: str
    token: int
    key: str
    method: str
    path: str
    body: dict[str, Any] | None = None
    params: list[tuple[str, Any]] = field(default_factory=list)
    match: int | None = None
    sent: int = 0
    """How many records it names."""
    answer: Answer | None = None
    """The first that said it was done; None where it was refused."""
    refusal: tuple[int, str] | None = None

    @property
    def is_atomic(self) -> bool:
        """Whether it writes all its records or none."""
        return ("mode", "per_row") not in self.params


@dataclass
class Book:
    """What the clients did and were told."""

    calls: list[Call] = field(default_factory=list)
    answered: int = 0
    attempts: int = 0
    cut_off: int = 0
    """Attempts whose connection was lost."""
    unavailable: int = 0
    in_flight: int = 0
    """Attempts that met an earlier one under way."""
    in_flight_after_loss: int = 0
    done_before: int = 0
    """Calls that had been done, as the first answer that came through said."""
    replays: int = 0
    """Done calls that were sent again."""
    wrong: list[str] = field(default_factory=list)
    """Answers that nobody may be given."""

    def figures(self) -> dict[str, Any]:
        """The numbers, and how often each kind of call was done or refused."""
        kinds = Counter(f"{c.kind} {'done' if c.answer else c.refusal}" for c in self.calls)
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        return numbers | {"calls": len(self.calls), "kinds": dict(sorted(kinds.items()))}


class Writers:
    """The clients. `run()` returns once `enough` is set and each call is answered."""

    def __init__(self, url: str, tokens: list[dict[str, str]], path: str, seed: int) -> None:
        self.book = Book()
        self.enough, self.given_up = threading.Event(), threading.Event()
        self.hot: list[str] = []
        self._url, self._tokens, self._path = url, tokens, path
        self._versions: dict[str, int] = {}
        """The latest that was told, of the records that may still be there."""
        self._rngs = [random.Random(f"{seed} {n}") for n in range(CLIENTS)]
        self._serial = Counter[int]()
        self._https: list[httpx.AsyncClient] = []

    async def begin(self) -> None:
        """Make the records that all will write to."""
        await self._connected(self._make_hot)

    async def run(self) -> None:
        """Write until it is enough."""
        await self._connected(lambda: asyncio.gather(*(self._write(n) for n in range(CLIENTS))))

    async def repeat_all(self) -> None:
        """Send every call that was done once more."""
        await self._connected(self._repeat_all)

    async def _connected(self, act: Callable[[], Any]) -> None:
        self._https = [
            httpx.AsyncClient(base_url=self._url, headers=headers, timeout=20, trust_env=False)
            for headers in self._tokens
        ]
        try:
            await act()
        finally:
            for http in self._https:
                await http.aclose()

    async def _make_hot(self) -> None:
        call = self._call(0, "create many", "POST", self._path, self._records(0, 50), sent=50)
        await self._do(call, self._rngs[0])
        assert call.answer is not None
        self.hot = [row["id"] for row in call.answer.rows[:HOT]]

    async def _repeat_all(self) -> None:
        done = [call for call in self.book.calls if call.answer is not None]
        for start in range(0, len(done), CLIENTS):
            some = done[start : start + CLIENTS]
            await asyncio.gather(*(self._repeat(call, self._rngs[0]) for call in some))

    async def _write(self, n: int) -> None:
        rng = self._rngs[n]
        while not self.enough.is_set():
            calls = self._next(n, rng)
            twins = [call for call in calls if rng.random() < 0.1]
            await asyncio.gather(*(self._do(call, rng) for call in calls + twins))
            if rng.random() < 0.1:
                done = [c for c in self.book.calls if c.answer is not None]
                await self._repeat(rng.choice(done), rng)

    async def _do(self, call: Call, rng: random.Random) -> None:
        """Send a call until it is answered, and note what was said."""
        answer, hit = await self._answered(call, rng)
        if answer.status not in _DONE:
            call.refusal = (answer.status, answer.body["code"])
            if call.refusal not in _REFUSALS:
                self.book.wrong.append(f"{call} was refused: {answer}")
        elif call.answer is None:
            self.book.done_before += hit
            call.answer = answer
            self._learn(answer)
        elif answer != call.answer:
            self.book.wrong.append(f"{call} was answered otherwise to its twin: {answer}")
        self.book.answered += 1

    async def _repeat(self, call: Call, rng: random.Random) -> None:
        answer, hit = await self._answered(call, rng)
        if not hit or answer != call.answer:
            self.book.wrong.append(f"{call} was answered otherwise as it was repeated: {answer}")
        self.book.replays += 1

    async def _answered(self, call: Call, rng: random.Random) -> tuple[Answer, bool]:
        headers = {"Idempotency-Key": call.key}
        if call.match is not None:
            headers["If-Match"] = f'"v{call.match}"'
        lost, deadline = False, time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < deadline, f"no answer to {call}"
            assert not self.given_up.is_set()
            self.book.attempts += 1
            try:
                got = await self._https[call.token].request(
                    call.method,
                    call.path,
                    json=call.body,
                    params=call.params,
                    headers=headers,
                )
                body = got.json()
            except httpx.TransportError:
                self.book.cut_off += 1
                lost = True
            else:
                if got.status_code == 503:
                    self.book.unavailable += 1
                    lost = True
                elif (got.status_code, body.get("code")) == (409, "idempotency_in_flight"):
                    self.book.in_flight += 1
                    self.book.in_flight_after_loss += lost
                else:
                    told = got.headers
                    answer = Answer(got.status_code, body, told.get("etag"), told.get("location"))
                    return answer, told.get("idempotency-hit") == "true"
            await asyncio.sleep(rng.uniform(0.01, 0.1))

    def _learn(self, answer: Answer) -> None:
        for row in answer.rows:
            if row.get("deleted") or row.get("status") == "deleted":
                self._versions.pop(row["id"], None)
            else:
                self._versions[row["id"]] = max(row["version"], self._versions.get(row["id"], 0))

    # What is called ---------------------------------------------------------------------------------------------

    def _next(self, n: int, rng: random.Random) -> list[Call]:
        """A call, or sometimes several of a kind that are about one record each and sent at once."""
        single: list[tuple[int, Callable[[int, random.Random], Call]]] = [
            (3, self._create_one),
            (4, self._patch_hot),
            (4, self._patch_hot_if_match),
            (2, self._patch_one),
            (1, self._put_one),
            (1, self._delete_one),
        ]
        several: list[tuple[int, Callable[[int, random.Random], Call]]] = [
            (3, self._create_many),
            (1, self._create_rows),
            (2, self._patch_many),
            (1, self._patch_rows),
            (2, self._upsert_one),
            (2, self._upsert_many),
            (1, self._delete_many),
        ]
        times = rng.choice([1, 1, 1, 1, BURST])
        choices = single if times > 1 else single + several
        (make,) = rng.choices([make for _, make in choices], [weight for weight, _ in choices])
        return [make(n, rng) for _ in range(times)]

    def _create_one(self, n: int, rng: random.Random) -> Call:
        fields = {"Name": "one", "Count": rng.randrange(1000)}
        if rng.random() < 0.3:
            fields["Code"] = rng.choice(CODES)
        return self._call(n, "create one", "POST", self._path, {"fields": fields}, sent=1)

    def _create_many(self, n: int, rng: random.Random) -> Call:
        body = self._records(n, rng.choice([2, 5, 50]))
        if rng.random() < 0.2:
            body["records"][-1]["fields"]["Code"] = rng.choice(CODES)
        return self._call(n, "create many", "POST", self._path, body, sent=len(body["records"]))

    def _create_rows(self, n: int, rng: random.Random) -> Call:
        body = self._records(n, 6)
        for record, code in zip(body["records"], rng.sample(CODES, 2), strict=False):
            record["fields"]["Code"] = code
        return self._call(n, "create per_row", "POST", self._path, body, mode="per_row", sent=6)

    def _patch_hot(self, n: int, rng: random.Random) -> Call:
        body = {"fields": {"Count": rng.randrange(1000)}}
        return self._call(n, "patch hot", "PATCH", f"{self._path}/{rng.choice(self.hot)}", body, sent=1)

    def _patch_hot_if_match(self, n: int, rng: random.Random) -> Call:
        call = self._patch_hot(n, rng)
        call.kind, call.match = "patch hot if-match", self._versions[call.path.rpartition("/")[2]]
        return call

    def _patch_one(self, n: int, rng: random.Random) -> Call:
        body = {"fields": {"Name": rng.choice("abc")}}
        return self._call(n, "patch", "PATCH", f"{self._path}/{self._some(rng, 1)[0]}", body, sent=1)

    def _patch_many(self, n: int, rng: random.Random) -> Call:
        return self._call(n, "patch many", "PATCH", self._path, self._changes(rng), sent=4)

    def _patch_rows(self, n: int, rng: random.Random) -> Call:
        body = self._changes(rng)
        return self._call(n, "patch per_row", "PATCH", self._path, body, mode="per_row", sent=4)

    def _put_one(self, n: int, rng: random.Random) -> Call:
        body = {"fields": {"Name": "put"}}
        return self._call(n, "put", "PUT", f"{self._path}/{self._some(rng, 1)[0]}", body, sent=1)

    def _upsert_one(self, n: int, rng: random.Random) -> Call:
        body = {"fields": {"Name": "upserted", "Code": rng.choice(CODES)}}
        return self._call(n, "upsert one", "POST", self._path, body, upsert="Code", sent=1)

    def _upsert_many(self, n: int, rng: random.Random) -> Call:
        body = self._records(n, 3)
        for record, code in zip(body["records"], rng.sample(CODES, 3), strict=True):
            record["fields"]["Code"] = code
        return self._call(n, "upsert many", "POST", self._path, body, upsert="Code", sent=3)

    def _delete_one(self, n: int, rng: random.Random) -> Call:
        return self._call(n, "delete", "DELETE", f"{self._path}/{self._some(rng, 1)[0]}", None, sent=1)

    def _delete_many(self, n: int, rng: random.Random) -> Call:
        call = self._call(n, "delete many", "DELETE", self._path, None, sent=3)
        if rng.random() < 0.5:
            call.kind = "delete per_row"
            call.params.append(("mode", "per_row"))
        call.params += [("id", record_id) for record_id in self._some(rng, 3)]
        return call

    def _call(
        self, n: int, kind: str, method: str, path: str, body: Any, *, sent: int, **params: str
    ) -> Call:
        self._serial[n] += 1
        mark = f"{n} {self._serial[n]}"
        if body is not None:
            for record in body.get("records", [body]):
                record["fields"]["Note"] = mark
        client, token = divmod(n, len(self._tokens))
        key = f"{client} {self._serial[n]}"
        call = Call(kind, mark, token, key, method, path, body, list(params.items()), sent=sent)
        self.book.calls.append(call)
        return call

    def _records(self, n: int, count: int) -> dict[str, Any]:
        return {"records": [{"fields": {"Name": f"of {n}", "Count": c}} for c in range(count)]}

    def _changes(self, rng: random.Random) -> dict[str, Any]:
        some = self._some(rng, 4)
        found: list[dict[str, Any]] = [{"id": one, "fields": {"Count": c}} for c, one in enumerate(some)]
        if rng.random() < 0.5:
            found[0]["version"] = self._versions[some[0]]
        return {"records": found}

    def _some(self, rng: random.Random, count: int) -> list[str]:
        """Records of anybody's that may still be there, the hot ones aside."""
        return rng.sample([r for r in self._versions if r not in self.hot], count)
