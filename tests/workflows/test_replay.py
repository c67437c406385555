"""Runs that are under way survive a deploy: each recorded history replays against today's code."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from tests.workflows.recording import HISTORIES
from workers.registry import WORKFLOWS


@pytest.mark.parametrize("path", sorted(HISTORIES.glob("*.json")), ids=lambda path: path.stem)
async def test_a_run_of_an_earlier_release_goes_on(path: Path) -> None:
    history = WorkflowHistory.from_json(path.stem, path.read_text())  # noqa: ASYNC240
    replayer = Replayer(workflows=list(WORKFLOWS), data_converter=pydantic_data_converter)
    await replayer.replay_workflow(history)


@pytest.mark.parametrize(
    "name",
    [
        "tenant_provision.done",
        "tenant_provision.undone",
        "tenant_provision.canceled",
        "tenant_provision.canceled_at_once",
        "tenant_provision.cleared_up",
        "schema_change.done",
        "schema_change.unchanged",
        "schema_change.undone",
        "schema_change.continued",
        "schema_change.cleared_up",
        "schema_change.stuck",
        "metering_cycle.done",
        "wallet_refill.paid",
        "wallet_refill.declined",
        "wallet_refill.unknown",
        "wallet_refill.not_wanted",
        "wallet_refill.cleared_up",
        "wallet_refill.cleared_up_unpaid",
        "notify.sent",
        "notify.dead",
        "notify.continued",
        "notify.canceled",
        "notify.cleared_up",
        "maintain_partitions.done",
    ],
)
def test_each_path_has_its_history(name: str) -> None:
    assert (HISTORIES / f"{name}.json").exists()
