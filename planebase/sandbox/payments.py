"""A payment provider over HTTP that keeps its charges in a file and can be told to decline, hang or fail."""

import asyncio
import hmac
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Header, HTTPException, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from core import ids

Mode = Literal["ok", "decline", "timeout", "error"]

_HANG_MAX_S = 120.0
_SCHEMA = """
create table if not exists charges (
  id text primary key, idempotency_key text not null unique, customer text not null,
  amount_cents integer not null, status text not null check (status in ('paid', 'declined')),
  reason text, created_at text not null default current_timestamp);
create table if not exists moods (
  customer text primary key, mode text not null, times integer not null, hang_s real not null);
"""


class Charge(BaseModel):
    """What a merchant asks for."""

    model_config = ConfigDict(extra="forbid")
    customer: str = Field(min_length=1, max_length=200)
    amount_cents: int = Field(gt=0, le=1_000_000_00)
    description: str = Field(default="", max_length=500)


class Mood(BaseModel):
    """How the next `times` charges of a customer go; `timeout` takes the money and never answers."""

    model_config = ConfigDict(extra="forbid")
    customer: str = Field(min_length=1, max_length=200)
    mode: Mode
    times: int = Field(default=1, ge=1, le=10_000)
    hang_s: float = Field(default=60.0, ge=0, le=_HANG_MAX_S)


class Ledger:
    """The provider's own record: one charge per Idempotency-Key, kept over restarts."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.executescript(_SCHEMA)

    @contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def find(self, key: str) -> sqlite3.Row | None:
        """Return the charge that was made under `key`."""
        with self._alone() as db:
            row: sqlite3.Row | None = db.execute(
                "select * from charges where idempotency_key = ?", (key,)
            ).fetchone()
            return row

    def charges(self, customer: str | None, limit: int) -> list[sqlite3.Row]:
        """Return the latest charges, newest first."""
        with self._alone() as db:
            return db.execute(
                "select * from charges where ? is null or customer = ? order by id desc limit ?",
                (customer, customer, limit),
            ).fetchall()

    def set_mood(self, mood: Mood) -> None:
        """Say how a customer's next charges go."""
        with self._alone() as db:
            db.execute(
                "insert into moods values (?, ?, ?, ?) on conflict (customer) do update"
                " set mode = excluded.mode, times = excluded.times, hang_s = excluded.hang_s",
                (mood.customer, mood.mode, mood.times, mood.hang_s),
            )

    def mood(self, customer: str) -> tuple[Mode, float]:
        """Return how this charge of the customer goes, and count it."""
        with self._alone() as db:
            row = db.execute("select * from moods where customer = ?", (customer,)).fetchone()
            if row is None or row["times"] <= 0 or row["mode"] == "ok":
                return "ok", 0.0
            db.execute("update moods set times = times - 1 where customer = ?", (customer,))
            return row["mode"], row["hang_s"]

    def charge(self, key: str, charge: Charge, *, declined: bool) -> sqlite3.Row:
        """Record the charge under its key, once."""
        with self._alone() as db:
            status, reason = ("declined", "card_declined") if declined else ("paid", None)
            db.execute(
                "insert into charges (id, idempotency_key, customer, amount_cents, status, reason)"
                " values (?, ?, ?, ?, ?, ?) on conflict do nothing",
                (f"ch_{ids.new()}", key, charge.customer, charge.amount_cents, status, reason),
            )
            row: sqlite3.Row = db.execute(
                "select * from charges where idempotency_key = ?", (key,)
            ).fetchone()
            return row

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def create_app(ledger: Ledger, key: str) -> FastAPI:
    """Return the provider's API; every call needs the bearer `key`."""
    app = FastAPI(title="Sandbox payments", openapi_url=None)

    def authorized(authorization: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(authorization.encode(), f"Bearer {key}".encode()):
            raise HTTPException(401, "a bearer key is needed")

    app.router.dependencies.append(Depends(authorized))

    @app.post("/charges")
    async def make_charge(
        charge: Charge,
        idempotency_key: Annotated[str, Header(min_length=1, max_length=255)],
    ) -> JSONResponse:
        seen = await asyncio.to_thread(ledger.find, idempotency_key)
        if seen is not None:
            return _answer(seen, charge)
        mode, hang_s = await asyncio.to_thread(ledger.mood, charge.customer)
        if mode == "error":
            return JSONResponse({"error": {"code": "server_error"}}, status_code=500)
        row = await asyncio.to_thread(ledger.charge, idempotency_key, charge, declined=mode == "decline")
        if mode == "timeout":
            await asyncio.sleep(hang_s)
        return _answer(row, charge)

    @app.get("/charges")
    async def list_charges(
        idempotency_key: Annotated[str | None, Query(max_length=255)] = None,
        customer: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, list[dict[str, object]]]:
        if idempotency_key is not None:
            row = await asyncio.to_thread(ledger.find, idempotency_key)
            return {"charges": [] if row is None else [dict(row)]}
        return {"charges": [dict(row) for row in await asyncio.to_thread(ledger.charges, customer, limit)]}

    @app.post("/_control", status_code=204)
    async def control(mood: Mood) -> None:
        await asyncio.to_thread(ledger.set_mood, mood)

    return app


def _answer(row: sqlite3.Row, charge: Charge) -> JSONResponse:
    if (row["customer"], row["amount_cents"]) != (charge.customer, charge.amount_cents):
        return JSONResponse({"error": {"code": "idempotency_mismatch"}}, status_code=409)
    if row["status"] == "declined":
        return JSONResponse(
            {"error": {"code": row["reason"]}, "charge": dict(row)},
            status_code=402,
        )
    return JSONResponse(dict(row), status_code=201)
