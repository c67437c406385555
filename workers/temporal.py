"""This system's way to talk to Temporal: one client per process, the settings that were measured."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from workflows.registry import SEARCH_ATTRIBUTES

TASK_TIMEOUT = timedelta(seconds=3)
"""How long a run whose worker was killed inside a local activity waits for another."""

_LOG = structlog.get_logger("worker.temporal")


class TemporalAway(Exception):
    """Temporal does not answer for now."""


def is_away(error: RPCError) -> bool:
    """Tell whether trying again later may help: always, unless Temporal says that the request itself is wrong."""
    return error.status != RPCStatusCode.INVALID_ARGUMENT


async def lazy_client(address: str, namespace: str) -> Client:
    """Return a client that connects when it is first used, and gives up within 1.5 s while Temporal is away."""
    return await Client.connect(
        address,
        namespace=namespace,
        lazy=True,
        data_converter=pydantic_data_converter,
        retry_config=RetryConfig(
            initial_interval_millis=50, max_interval_millis=300, max_elapsed_time_millis=1500, max_retries=4
        ),
    )


async def connected_client(address: str, namespace: str, stop: asyncio.Event) -> Client | None:
    """Wait for Temporal, have our search attributes there, and return a client for workers; None on `stop`."""
    pause_s, said = 0.2, False
    while not stop.is_set():
        try:
            client = await Client.connect(
                address, namespace=namespace, data_converter=pydantic_data_converter
            )
            await ensure_search_attributes(client)
        except (RPCError, RuntimeError, OSError) as error:
            if not said:
                _LOG.warning("waiting for temporal", address=address, problem=str(error)[:300])
                said = True
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)
            pause_s = min(pause_s * 2, 2.0)
        else:
            return client
    return None


async def ensure_search_attributes(client: Client) -> None:
    """Make those of our search attributes that are missing; another type under one of our names is an error."""
    wanted = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in SEARCH_ATTRIBUTES}
    there = await _search_attributes(client)
    missing = {name: kind for name, kind in wanted.items() if name not in there}
    if missing:
        # Another type for a known name would be ignored without a word, so only what is missing is sent.
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )
    wrong = sorted(name for name, kind in wanted.items() if there.get(name, kind) != kind)
    if wrong:
        raise RuntimeError(f"search attributes of another type in {client.namespace}: {', '.join(wrong)}")


async def _search_attributes(client: Client) -> dict[str, int]:
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return dict(answer.custom_attributes)
