"""What the starter starts: for each kind of operation its workflow, queue, id, and words for people."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from workflows.shared import NEEDS_HUMAN, OPERATION_ID, PHASE, Start

TENANT_ID = SearchAttributeKey.for_keyword("TenantId")
BASE_ID = SearchAttributeKey.for_keyword("BaseId")
KIND = SearchAttributeKey.for_keyword("Kind")

SEARCH_ATTRIBUTES: tuple[SearchAttributeKey[Any], ...] = (
    TENANT_ID,
    BASE_ID,
    KIND,
    PHASE,
    OPERATION_ID,
    NEEDS_HUMAN,
)
_SUMMARY_MAX_BYTES = 400


@dataclass(frozen=True)
class Kind:
    """One kind of long work. `workflow` is the class's name, so that this page imports none of them."""

    name: str
    workflow: str
    queue: str
    workflow_id: str
    """A business key: `{operation}`, `{subject}`, `{tenant}` and `{base}` are filled in."""
    summary: Callable[[Start, dict[str, Any]], str]
    what: str
    private: bool = False
    """Whether the input stays in our row: it is large, or names people."""
    clears_up: bool = False
    """Whether a fresh run settles what one that was ended from outside has left."""

    def id_of(self, start: Start) -> str:
        """Return the workflow id of one operation."""
        return self.workflow_id.format(
            operation=start.operation_id, subject=start.subject_id, tenant=start.tenant_id, base=start.base_id
        )


def _provision(start: Start, given: dict[str, Any]) -> str:
    return f"Provision tenant {given.get('name') or start.tenant_id} in {given.get('region', 'its region')}"


def _schema(start: Start, given: dict[str, Any]) -> str:
    return f"Apply a new {'schema' if given.get('spec') else 'name or status'} to base {start.base_id}"


_ALL = (
    Kind(
        name="tenant_provision",
        workflow="TenantProvision",
        queue="tenants",
        workflow_id="provision/{tenant}",
        summary=_provision,
        what="Gives a new tenant its home: a place, a schema with roles and policies, a wallet, a plan.",
        private=True,
        clears_up=True,
    ),
    Kind(
        name="schema_apply",
        workflow="SchemaChange",
        queue="schema",
        workflow_id="schema/{base}/{operation}",
        summary=_schema,
        what="Brings a base from its last schema to the desired one, step by step, and its name and status up to date.",
        private=True,
        clears_up=True,
    ),
    Kind(
        name="metering",
        workflow="MeteringCycle",
        queue="metering",
        workflow_id="metering",
        summary=lambda _, __: "Measure usage, bill it, and look for alerts",
        what="Closes every open usage window, debits wallets, and opens alerts.",
    ),
    Kind(
        name="wallet_refill",
        workflow="WalletRefill",
        queue="billing",
        workflow_id="refill/{subject}",
        summary=lambda start, _: f"Refill wallet {start.subject_id}",
        what="Takes a payment and credits it to the wallet: both or neither.",
        clears_up=True,
    ),
    Kind(
        name="notify",
        workflow="Notify",
        queue="notify",
        workflow_id="notify/{subject}",
        summary=lambda start, _: f"Deliver notification {start.subject_id}",
        what="Delivers one notification, with retries, or gives it up: it is `dead`, and its tenant has an alert.",
        clears_up=True,
    ),
    Kind(
        name="partitions",
        workflow="MaintainPartitions",
        queue="maintenance",
        workflow_id="partitions",
        summary=lambda _, __: "Make the coming months' partitions",
        what="Makes log partitions ahead of time in every database.",
    ),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}


def summary_of(kind: Kind, start: Start, given: dict[str, Any]) -> str:
    """Return one line for the list of runs, at most 400 bytes."""
    line = " ".join(kind.summary(start, given).split())
    if start.left is not None:
        line = f"Clear up: {line}"
    return line.encode()[:_SUMMARY_MAX_BYTES].decode(errors="ignore")


def details_of(kind: Kind, start: Start, requested_by: str) -> str:
    """Return what an operator reads first in a run, in Markdown."""
    rows = [
        ("operation", start.operation_id),
        ("tenant", start.tenant_id),
        ("base", start.base_id),
        ("for", start.subject_id),
        ("requested by", requested_by),
    ]
    table = "\n".join(f"| {name} | `{value}` |" for name, value in rows if value)
    terminated = (
        "A cancel undoes it; what a termination leaves is settled by another run."
        if kind.clears_up
        else "A cancel undoes it; a termination leaves it as it is, and the next operation for the same subject"
        " takes it up."
    )
    return (
        f"{kind.what}\n\n| | |\n|---|---|\n{table}\n\nIt ends complete or undone. {terminated}"
        f" State and result: `GET /operations/{start.operation_id}`."
    )


def attributes_of(start: Start) -> TypedSearchAttributes:
    """Return the search attributes that a run starts with."""
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(KIND, start.kind),
        SearchAttributePair(PHASE, "starting"),
        SearchAttributePair(NEEDS_HUMAN, False),
    ]
    ids = {OPERATION_ID: start.operation_id, TENANT_ID: start.tenant_id, BASE_ID: start.base_id}
    pairs += [SearchAttributePair(key, value) for key, value in ids.items() if value]
    return TypedSearchAttributes(pairs)
