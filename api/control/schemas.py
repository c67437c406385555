"""Schemas of bases: the desired spec in, ordered steps or an operation out."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, StrictBool, StrictInt, StringConstraints
from starlette.responses import Response

from api.control.caller import Reads, Writes, missing
from api.control.work import Accepted, accepted, enqueue
from api.paging import DEFAULT_LIMIT, Cursor, Limit
from api.problems import problems
from api.strict import Closed, Id, Out, Page, cut
from core import ids
from core.access import Action
from core.errors import Conflict, Fault, Invalid
from core.ids import Ulid
from core.schema.diff import diff
from core.schema.plan import Plan, StepInfo, check_confirmed, required_confirmations
from core.schema.spec import BaseSpec, read_spec
from db.control import bases, schemas
from db.control.schemas import Latest
from db.sessions import ControlSession

router = APIRouter(prefix="/bases/{base_id}/schema", tags=["schema"])

MAX_CONFIRMATIONS = 1_000
MAX_VERSION = 2**62
Code = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class DesiredSchema(Closed):
    """The whole spec as it should be; what it does not name is dropped, once that is confirmed."""

    spec: Annotated[dict[str, Any], Field(description="Tables with their fields and views.")]
    confirm: Annotated[
        list[Code],
        Field(
            max_length=MAX_CONFIRMATIONS, description="The confirmation of each step that loses something."
        ),
    ] = []
    parent_version: Annotated[
        StrictInt | None,
        Field(ge=0, le=MAX_VERSION, description="Refuse with 409 if the base has another version by now."),
    ] = None
    dry_run: StrictBool = False


class SchemaOut(Out):
    """The schema that a base has."""

    base_id: Ulid
    version: int
    spec: BaseSpec


class PlanOut(Out):
    """What would be done, in this order; `confirmations` is what `confirm` must hold."""

    base_id: Ulid
    parent_version: int
    steps: list[StepInfo]
    confirmations: list[str]


class VersionOut(Out):
    """One version of a base's schema, and what became of it."""

    version: int
    state: str
    ddl_hash: str
    operation_id: Ulid
    created_at: datetime
    applied_at: datetime | None


class VersionWithSpec(Out):
    """One version of a base's schema, with its spec."""

    base_id: Ulid
    version: int
    spec: BaseSpec


class VersionPage(Page):
    """A page of versions, newest first."""

    versions: list[VersionOut]


@router.get("", responses=problems(400, 401, 403, 404, 503))
async def get_schema(base_id: Id, caller: Reads) -> SchemaOut:
    """Show the schema that was applied last, with the ids that a rename must name; version 0 is empty."""
    async with caller.reading() as session:
        await caller.at_base(session, Ulid(base_id), Action.SCHEMA_READ)
        latest = await schemas.latest(session, Ulid(base_id))
    return SchemaOut(base_id=Ulid(base_id), version=latest.version, spec=latest.spec)


@router.put(
    "",
    response_model=PlanOut,
    responses={
        202: {"model": Accepted, "description": "The change was asked for."},
        **problems(400, 401, 403, 404, 409, 413, 422, 503),
    },
)
async def put_schema(base_id: Id, body: DesiredSchema, caller: Writes) -> Response:
    """Plan the way to the desired spec (`dry_run`), or have it taken, behind what the base still waits for."""
    base = Ulid(base_id)
    desired = _read(body.spec)
    async with caller.change() as change:
        session = change.session
        place = await caller.at_base(
            session, base, Action.SCHEMA_PLAN if body.dry_run else Action.SCHEMA_APPLY
        )
        latest = await schemas.latest(session, base)
        _check_parent(latest, body.parent_version)
        plan = _plan(latest, desired)
        if body.dry_run:
            change.answer(200, _shown(base, latest, plan))
        else:
            await _check_in_use(session, base)
            check_confirmed(plan, body.confirm)
            operation = await enqueue(
                caller,
                change,
                kind="schema_apply",
                subject_id=base,
                tenant_id=place.tenant_id,
                base_id=base,
                input={
                    "spec": desired.model_dump(mode="json"),
                    "confirm": body.confirm,
                    "parent_version": body.parent_version,
                },
                cancelable=True,
            )
            await caller.tell(
                change,
                "SCHEMA_APPLY_REQUEST",
                tenant_id=place.tenant_id,
                workspace_id=place.workspace_id,
                base_id=base,
                resource=("base", base),
                diff={"parent_version": latest.version, "steps": len(plan.steps)},
            )
            accepted(caller, change, operation)
    return change.response()


@router.get("/versions", responses=problems(400, 401, 403, 404, 503))
async def list_versions(
    base_id: Id, caller: Reads, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> VersionPage:
    """List a base's versions, newest first, failed ones included."""
    query = f"versions {base_id}"
    before = caller.parts.cursors.read(query, cursor) if cursor else None
    limit = min(limit, schemas.MAX_PAGE - 1)
    async with caller.reading() as session:
        await caller.at_base(session, Ulid(base_id), Action.SCHEMA_READ)
        found = await schemas.history(session, Ulid(base_id), limit=limit + 1, before=before)
    rows, more = cut(found, limit)
    return VersionPage(
        versions=[VersionOut.model_validate(row) for row in rows],
        next_cursor=caller.parts.cursors.write(query, rows[-1].version) if more else None,
    )


@router.get("/versions/{version}", responses=problems(400, 401, 403, 404, 503))
async def get_version(
    base_id: Id, version: Annotated[int, Field(ge=1, le=MAX_VERSION)], caller: Reads
) -> VersionWithSpec:
    """Show one version's spec."""
    async with caller.reading() as session:
        await caller.at_base(session, Ulid(base_id), Action.SCHEMA_READ)
        spec = await schemas.spec_of(session, Ulid(base_id), version)
    if spec is None:
        raise missing("version")
    return VersionWithSpec(base_id=Ulid(base_id), version=version, spec=spec)


def _read(spec: dict[str, Any]) -> BaseSpec:
    try:
        return read_spec(spec)
    except Invalid as error:
        raise _below("/spec", error) from None


def _plan(latest: Latest, desired: BaseSpec) -> Plan:
    try:
        return diff(latest.spec, desired, ids.stream())
    except Invalid as error:
        raise _below("/spec", error) from None


def _below(pointer: str, error: Invalid) -> Invalid:
    faults = tuple(Fault(pointer + fault.pointer, fault.code, fault.detail) for fault in error.faults)
    return Invalid(error.detail, faults, code=error.reason)


def _check_parent(latest: Latest, expected: int | None) -> None:
    if expected is not None and expected != latest.version:
        raise Conflict(
            f"the base has version {latest.version} by now, not {expected}",
            (Fault("/parent_version", "stale_parent", f"the version is {latest.version}"),),
            code="stale_parent",
        )


async def _check_in_use(session: ControlSession, base_id: Ulid) -> None:
    base = await bases.get(session, base_id)
    if base is None or base.status != "active":
        raise Conflict("this base is archived", code="base_archived")


def _shown(base_id: Ulid, latest: Latest, plan: Plan) -> PlanOut:
    return PlanOut(
        base_id=base_id,
        parent_version=latest.version,
        steps=[*plan.describe()],
        confirmations=required_confirmations(plan),
    )
