"""Long work as the Control and the Admin API show it."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from api.strict import Out, Page
from core.ids import Ulid
from db.control.operations import Operation


class OperationLinks(Out):
    """Where an operation is found: here, and its run in the Temporal UI once it has one."""

    self: str
    temporal_ui: str | None


class OperationProblem(Out):
    """Why an operation failed."""

    code: str
    detail: str
    errors: list[dict[str, Any]] = []


class OperationOut(Out):
    """One piece of long work: what was asked, how far it is, and how it ended."""

    id: Ulid
    kind: str
    tenant_id: Ulid | None
    base_id: Ulid | None
    subject_id: str
    state: str
    step: str | None
    percent: int
    eta: datetime | None
    cancelable: bool
    requested_by: str
    result: dict[str, Any] | None
    error: OperationProblem | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    links: OperationLinks

    @classmethod
    def of(cls, operation: Operation, runs_url: str) -> "OperationOut":
        """Return what is shown of `operation`; its input is not."""
        error = operation.error
        return cls(
            **{name: getattr(operation, name) for name in cls.model_fields if name not in ("links", "error")},
            error=None
            if error is None
            else OperationProblem(
                code=str(error.get("code", "failed")),
                detail=str(error.get("detail", "")),
                errors=error.get("errors") or [],
            ),
            links=OperationLinks(
                self=f"/operations/{operation.id}",
                temporal_ui=_run_url(runs_url, operation.workflow_id, operation.run_id),
            ),
        )


class OperationPage(Page):
    """A page of operations, newest first."""

    operations: list[OperationOut]


def runs_url(ui: str, namespace: str) -> str:
    """Return the address in the Temporal UI below which a namespace's runs are."""
    return f"{ui.rstrip('/')}/namespaces/{quote(namespace, safe='')}/workflows"


def _run_url(base: str, workflow_id: str | None, run_id: str | None) -> str | None:
    if workflow_id is None:
        return None
    run = f"/{quote(run_id, safe='')}/history" if run_id else ""
    return f"{base}/{quote(workflow_id, safe='')}{run}"
