"""The ledger: money moves once per ref, never below zero, and what was written stays."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import async_sessionmaker

from core.errors import Conflict, InsufficientFunds, NotFound
from core.ids import Ulid, new
from core.wallet import Entry
from db import engines, roles
from db.control import ledger
from db.sessions import ControlSession, sessions
from tests import seeds
from tests.conftest import Databases

Control = async_sessionmaker[ControlSession]
WRITERS = [role.name for role in roles.ROLES if role.login and "control" in role.databases]


@pytest_asyncio.fixture
async def control(databases: Databases) -> AsyncIterator[Control]:
    pool = engines.engine(databases.secret("billing_worker", "control"), pool_size=16)
    yield sessions(pool, ControlSession)
    await pool.dispose()


async def post(control: Control, wallet_id: Ulid, entry: Entry) -> ledger.Posted:
    async with control.begin() as session:
        return await ledger.post(session, wallet_id, entry, None)


async def movements(databases: Databases, wallet_id: Ulid) -> list[dict[str, int]]:
    return await seeds.rows(
        databases, "control",
        "select seq, amount_cents, balance_after_cents from control.wallet_ledger where wallet_id = $1 order by seq",
        wallet_id,
    )  # fmt: skip


async def balance(databases: Databases, wallet_id: Ulid) -> int:
    """Return the balance, and see that it is the sum of the ledger and that each entry follows from the one before."""
    (wallet,) = await seeds.rows(
        databases, "control", "select balance_cents from control.wallets where id = $1", wallet_id
    )
    entries = await movements(databases, wallet_id)
    assert wallet["balance_cents"] == sum(entry["amount_cents"] for entry in entries)
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    so_far = 0
    for entry in entries:
        so_far += entry["amount_cents"]
        assert entry["balance_after_cents"] == so_far >= 0
    assert await seeds.rows(databases, "control", "select * from control.ledger_drift") == []
    return int(wallet["balance_cents"])


async def test_a_repeated_ref_changes_nothing(databases: Databases, control: Control) -> None:
    tenant = await seeds.tenant(databases, balance_cents=1000)
    first = await post(control, tenant.wallet_id, Entry("debit", -300, "usage/2026-11/5", -5))
    again = await post(control, tenant.wallet_id, Entry("debit", -300, "usage/2026-11/5", -5))
    assert (first.is_new, again.is_new) == (True, False)
    assert (again.id, again.balance_cents) == (first.id, 700)
    assert await balance(databases, tenant.wallet_id) == 700


async def test_a_ref_with_another_amount_is_refused(databases: Databases, control: Control) -> None:
    tenant = await seeds.tenant(databases, balance_cents=1000)
    await post(control, tenant.wallet_id, Entry("debit", -300, "r"))
    with pytest.raises(Conflict, match="another amount"):
        await post(control, tenant.wallet_id, Entry("debit", -301, "r"))
    assert await balance(databases, tenant.wallet_id) == 700


async def test_a_debit_over_the_balance_is_refused_whole(databases: Databases, control: Control) -> None:
    tenant = await seeds.tenant(databases, balance_cents=100)
    with pytest.raises(InsufficientFunds, match="1 cents short"):
        await post(control, tenant.wallet_id, Entry("debit", -101, "r"))
    assert await balance(databases, tenant.wallet_id) == 100
    await post(control, tenant.wallet_id, Entry("debit", -100, "r"))
    assert await balance(databases, tenant.wallet_id) == 0


async def test_a_wallet_that_is_not_there(control: Control) -> None:
    with pytest.raises(NotFound):
        await post(control, new(), Entry("topup", 1, "r"))
    async with control() as session:
        with pytest.raises(NotFound):
            await ledger.lock(session, new())


async def test_many_at_once_lose_and_double_nothing(databases: Databases, control: Control) -> None:
    tenant = await seeds.tenant(databases, balance_cents=500)
    done: list[int] = []

    async def one(number: int) -> None:
        # Every ref is posted by several at once; some debits find too little.
        kind, amount = ("topup", 40) if number % 3 == 0 else ("debit", -35)
        entry = Entry(kind, amount, f"{kind}{number // 6}")  # type: ignore[arg-type]
        try:
            posted = await post(control, tenant.wallet_id, entry)
        except InsufficientFunds:
            return
        if posted.is_new:
            done.append(entry.amount_cents)

    await asyncio.gather(*(one(number) for number in range(240)))
    assert await balance(databases, tenant.wallet_id) == 500 + sum(done)
    assert len(await movements(databases, tenant.wallet_id)) == 1 + len(done)


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["topup", "debit", "adjustment", "expire"]), st.integers(0, 400), st.integers(0, 6)
    ),
    max_size=12,
)


@given(ENTRIES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_ledger_is_what_a_plain_model_says(
    databases: Databases, control: Control, entries: list[tuple[str, int, int]]
) -> None:
    tenant = await seeds.tenant(databases)
    held, posted = 0, dict[str, tuple[str, int]]()
    for kind, size, number in entries:
        amount = {"topup": size + 1, "debit": -size, "adjustment": size - 200, "expire": -size}[kind]
        ref = f"ref/{number}"
        expected: type[Exception] | None = None
        if ref in posted:
            expected = Conflict if posted[ref] != (kind, amount) else None
        elif held + amount < 0:
            expected = InsufficientFunds
        refused: type[Exception] | None = None
        try:
            await post(control, tenant.wallet_id, Entry(kind, amount, ref))  # type: ignore[arg-type]
        except (Conflict, InsufficientFunds) as error:
            refused = type(error)
        assert refused is expected
        if refused is None and ref not in posted:
            held, posted[ref] = held + amount, (kind, amount)
    assert await balance(databases, tenant.wallet_id) == held


@pytest.mark.parametrize("role", WRITERS)
async def test_no_role_changes_what_is_written_nor_a_balance(databases: Databases, role: str) -> None:
    tenant = await seeds.tenant(databases, balance_cents=700)
    statements = (
        "update control.wallet_ledger set amount_cents = 1",
        "delete from control.wallet_ledger",
        "truncate control.wallet_ledger cascade",
        "update control.wallets set balance_cents = 1000000",
    )
    async with databases.connect(role, "control") as conn:
        for statement in statements:
            # The owner has every right, so triggers refuse it: append-only, and a balance that is no sum.
            with pytest.raises(
                (asyncpg.InsufficientPrivilegeError, asyncpg.CheckViolationError, asyncpg.PostgresError)
            ) as refused:
                await conn.execute(statement)
            assert refused.value.sqlstate in ("42501", "PB403", "23514"), (role, statement)
    assert await balance(databases, tenant.wallet_id) == 700


async def test_only_those_who_move_money_may_post(databases: Databases) -> None:
    tenant = await seeds.tenant(databases)
    may = set()
    for role in WRITERS:
        async with databases.connect(role, "control") as conn:
            try:
                await conn.execute(
                    "insert into control.wallet_ledger (id, wallet_id, type, amount_cents, ref, seq,"
                    " balance_after_cents) values ($1, $2, 'topup', 5, $3, 0, 0)",
                    new(), tenant.wallet_id, role,
                )  # fmt: skip
                may.add(role)
            except asyncpg.InsufficientPrivilegeError:
                pass
    assert may == {"control_owner", "admin_api", "billing_worker"}
