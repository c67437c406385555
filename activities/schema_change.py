"""What applying a schema does: plan, step by step, publish; and what takes it back."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel
from temporalio import activity

from activities.shared import Outcome, Subject
from core import ids
from core.errors import Conflict, Fault, Invalid, NotFound, Unavailable
from core.ids import Ulid
from core.schema.diff import diff
from core.schema.plan import Plan, check_confirmed
from core.schema.spec import read_spec
from db.control import bases, operations, outbox, placements, schemas
from db.control.models import BaseRow
from db.control.placements import Home
from db.control.schemas import Application, Latest
from db.data.ddl import apply as ddl
from db.data.ddl import bases as homes
from db.data.ddl import entry, held, ledger
from db.data.ddl.base import Target
from db.data.ddl.online import StillBuilding
from db.router import Clusters
from db.sessions import ControlSession
from db.transactions import Sessions


class Change(Subject):
    """Which base; what is wanted of it stands in the operation's row."""

    tenant_id: str
    base_id: str


class StepOf(Change):
    """One step of the plan."""

    step: int


class Planned(Outcome):
    """The steps that lead to the new version; without any, the base is as desired already."""

    version: int
    labels: list[str] = []
    """Each step in plain words."""
    point_of_no_return: int = 0


class Settled(Outcome):
    """How it stands with what a run that was ended from outside has left.

    `none`: nothing had been changed. `stuck`: neither way is open, and everything stays as it is.
    """

    state: Literal["none", "applied", "undone", "stuck"]
    version: int
    steps: int = 0
    reason: str = ""


class Wanted(BaseModel):
    """The input of the operation; without a spec the tables stay as they are: a base's name or status is new."""

    spec: dict[str, Any] | None = None
    confirm: list[str] = []
    parent_version: int | None = None


class SchemaChangeActivities:
    """Plan, steps and publication, each idempotent: the ledger beside the tables says what was done."""

    def __init__(self, control: Sessions[ControlSession], clusters: Clusters) -> None:
        self._control = control
        self._clusters = clusters

    @activity.defn
    async def plan(self, change: Change) -> Planned:
        """Tell the tenant's database name and status of the base, and write the next version as `applying`, if any.

        What a run that was ended from outside left half done on this base is settled before another spec is planned.
        """
        async with self._control() as session:
            wanted = await self._wanted(session, change)
            under_way = await schemas.under_way(session, Ulid(change.base_id))
        if (
            wanted.spec is not None
            and under_way is not None
            and under_way.operation_id != change.operation_id
        ):
            settled = await self._settle(change, under_way)
            if settled.state == "stuck":
                raise Conflict(settled.reason, code="half_applied")
        home, target = await self._open_base(change)
        async with self._control() as session:
            mine = await schemas.application(session, Ulid(change.operation_id))
            if mine is not None:
                return _planned(mine)
            latest, plan = await self._draft(session, change, wanted)
        if not plan.steps:
            return Planned(version=latest.version)
        async with self._clusters.connection(home.cluster_id) as conn:
            await ddl.preflight(conn, target, plan)
        async with self._control.begin() as session:
            await operations.require_wanted(session, Ulid(change.operation_id))
            return _planned(
                await schemas.begin(
                    session, Ulid(change.operation_id), Ulid(change.tenant_id), Ulid(change.base_id), plan
                )
            )

    @activity.defn
    async def apply_step(self, step: StepOf) -> Outcome:
        """Do one step: DDL, metadata and ledger together."""
        async with self._control.begin() as session:
            await operations.require_wanted(session, Ulid(step.operation_id))
        mine, home, target = await self._mine(step)
        await self._apply(home, target, mine, step.step)
        return Outcome()

    @activity.defn
    async def undo_step(self, step: StepOf) -> None:
        """Take one step back, whether or not it ever ran; from then on it cannot be done.

        Nothing is taken back while records hold values in what the plan has made: new fields take values as soon as
        their step is done, and what was acknowledged stays.
        """
        mine, home, target = await self._mine(step)
        if held_by := await self._held(home, target, mine):
            activity.logger.warning("kept, for records hold values in it", extra={"step": held_by})
        else:
            await self._undo(home, target, mine, step.step)

    @activity.defn
    async def publish(self, change: Change) -> Outcome:
        """Tell the tenant's database, then the registry, that the version is applied."""
        mine, home, target = await self._mine(change)
        await self._publish(change, home, target, mine)
        return Outcome()

    @activity.defn
    async def abandon(self, change: Change) -> None:
        """Mark the version as failed, if there is one and nothing is left of it.

        What is left, since records hold values in it, the next application of the base finishes or undoes.
        """
        async with self._control() as session:
            mine = await schemas.application(session, Ulid(change.operation_id))
        if mine is not None:
            home, target, _ = await self._target(change, mine.version)
            if {*await self._states(home, target, mine)} & {"started", "done"}:
                return
        async with self._control.begin() as session:
            await schemas.settle(session, Ulid(change.operation_id), "failed")

    @activity.defn
    async def settle(self, change: Change) -> Settled:
        """Finish what a run of this operation had begun that was ended from outside; repeating it changes nothing.

        New fields take values as soon as their step is done, so nothing is dropped that records hold.
        """
        async with self._control() as session:
            wanted = await self._wanted(session, change)
            mine = await schemas.application(session, Ulid(change.operation_id))
            latest = await schemas.latest(session, Ulid(change.base_id))
        await self._open_base(change)
        if mine is None:
            return Settled(state="applied" if wanted.spec is None else "none", version=latest.version)
        match mine.state:
            case "applying":
                return await self._settle(change, mine)
            case "applied":
                return Settled(state="applied", version=mine.version, steps=len(mine.plan.steps))
            case "failed":
                return Settled(state="undone", version=mine.version)

    # The parts -------------------------------------------------------------------------------------------

    async def _wanted(self, session: ControlSession, change: Change) -> Wanted:
        row = await operations.get(session, Ulid(change.operation_id))
        if row is None:
            raise NotFound(f"there is no operation {change.operation_id}")
        return Wanted.model_validate(row.input)

    async def _draft(self, session: ControlSession, change: Change, wanted: Wanted) -> tuple[Latest, Plan]:
        if wanted.spec is None:
            latest = await schemas.latest(session, Ulid(change.base_id))
            return latest, diff(latest.spec, latest.spec, ids.stream())
        base = await bases.get(session, Ulid(change.base_id))
        if base is None or base.status != "active":
            raise Conflict("the base is archived", code="base_archived")
        latest = await schemas.latest(session, Ulid(change.base_id))
        if wanted.parent_version is not None and wanted.parent_version != latest.version:
            words = f"the base is at version {latest.version} by now, not {wanted.parent_version}"
            raise Conflict(words, (Fault("/parent_version", "stale_parent", words),), code="stale_parent")
        plan = diff(latest.spec, read_spec(wanted.spec), ids.stream())
        check_confirmed(plan, wanted.confirm)
        return latest, plan

    async def _open_base(self, change: Change) -> tuple[Home, Target]:
        home, target, base = await self._target(change, 0)
        async with self._clusters.connection(home.cluster_id) as conn:
            await homes.open_base(conn, target, base.name, base.status)
        return home, target

    async def _target(self, change: Change, version: int) -> tuple[Home, Target, BaseRow]:
        async with self._control() as session:
            base = await bases.get(session, Ulid(change.base_id))
            if base is None or base.tenant_id != change.tenant_id:
                raise NotFound(f"there is no base {change.base_id}")
            home = await placements.home_of(session, Ulid(change.tenant_id))
            target = Target(Ulid(change.tenant_id), base.workspace_id, base.id, version, home.generation)
            return home, target, base

    async def _mine(self, change: Change) -> tuple[Application, Home, Target]:
        async with self._control() as session:
            mine = await schemas.application(session, Ulid(change.operation_id))
        if mine is None:
            raise Invalid("this operation has planned nothing")
        home, target, _ = await self._target(change, mine.version)
        return mine, home, target

    async def _apply(self, home: Home, target: Target, mine: Application, step: int) -> None:
        async with self._clusters.connection(home.cluster_id) as conn:
            try:
                await ddl.apply_step(conn, target, mine.operation_id, step, mine.plan.steps[step])
            except StillBuilding as error:
                raise Unavailable(str(error), retry_after_s=2) from error

    async def _undo(self, home: Home, target: Target, mine: Application, step: int) -> bool:
        """Undo a step and answer True, or False where records hold values in what it made."""
        async with self._clusters.connection(home.cluster_id) as conn:
            try:
                return await held.undo_unless_held(
                    conn, target, mine.operation_id, step, mine.plan.steps[step]
                )
            except StillBuilding as error:
                raise Unavailable(str(error), retry_after_s=2) from error

    async def _publish(self, change: Change, home: Home, target: Target, mine: Application) -> None:
        async with self._clusters.connection(home.cluster_id) as conn:
            await homes.publish(conn, target)
        async with self._control.begin() as session:
            if await schemas.settle(session, mine.operation_id, "applied"):
                await outbox.add(
                    session,
                    "activity",
                    ids.derived(ids.ms_of(mine.operation_id), mine.operation_id, "applied"),
                    datetime.now(UTC),
                    {
                        "tenant_id": change.tenant_id,
                        "workspace_id": target.workspace_id,
                        "base_id": change.base_id,
                        "resource_type": "schema",
                        "resource_id": change.base_id,
                        "action": "SCHEMA_APPLY",
                        "operation_id": mine.operation_id,
                        "version": mine.version,
                        "diff_json": {"steps": [step.label() for step in mine.plan.steps]},
                    },
                )

    async def _settle(self, change: Change, left: Application) -> Settled:
        """Finish what was begun; where nothing was, or the records refuse it, or an undo had begun, undo it."""
        home, target, _ = await self._target(change, left.version)
        states = await self._states(home, target, left)
        refusal = ""
        if any(states) and "undone" not in states:
            refusal = await self._forward(home, target, left)
            if not refusal:
                await self._publish(change, home, target, left)
                return Settled(state="applied", version=left.version, steps=len(left.plan.steps))
        if label := await self._back(home, target, left):
            why = (
                f"version {left.version} of this base cannot be finished{f' ({refusal})' if refusal else ''}"
            )
            words = f"{why} nor undone, for records hold values in what it made: {label}"
            return Settled(state="stuck", version=left.version, reason=words)
        async with self._control.begin() as session:
            await schemas.settle(session, left.operation_id, "failed")
        return Settled(state="undone" if any(states) else "none", version=left.version)

    async def _states(self, home: Home, target: Target, left: Application) -> list[ledger.State]:
        async with self._clusters.connection(home.cluster_id) as conn, entry.owner(conn, target):
            return [
                await ledger.state_of(conn, target, left.operation_id, step)
                for step in range(len(left.plan.steps))
            ]

    async def _forward(self, home: Home, target: Target, left: Application) -> str:
        """Take every step, and return what refused one that can still be undone, or nothing."""
        for step in range(len(left.plan.steps)):
            try:
                await self._apply(home, target, left, step)
            except (Invalid, Conflict) as refusal:
                if step >= left.plan.point_of_no_return:
                    raise
                return f"{left.plan.steps[step].label()}: {refusal}"
        return ""

    async def _held(self, home: Home, target: Target, left: Application) -> str:
        """Return the step that made what records hold values in, or nothing."""
        async with self._clusters.connection(home.cluster_id) as conn:
            for step in range(left.plan.point_of_no_return):
                if await held.holds(conn, target, left.operation_id, step, left.plan.steps[step]):
                    return left.plan.steps[step].label()
        return ""

    async def _back(self, home: Home, target: Target, left: Application) -> str:
        """Undo every step, and return nothing, or else the step that made what records hold values in."""
        # First a look at all of them: while nothing was undone, the way forward stays open.
        if held_by := await self._held(home, target, left):
            return held_by
        for step in reversed(range(left.plan.point_of_no_return)):
            if not await self._undo(home, target, left, step):
                return left.plan.steps[step].label()
        return ""


def _planned(mine: Application) -> Planned:
    if mine.state == "failed":
        raise Conflict("this application was given up", code="operation_over")
    return Planned(
        version=mine.version,
        labels=[step.label() for step in mine.plan.steps],
        point_of_no_return=mine.plan.point_of_no_return,
    )
