"""Runs in Temporal, as far as an API touches them: it may ask one to stop, and nothing more."""

import asyncio

from temporalio.client import Client, RetryConfig
from temporalio.service import RPCError, RPCStatusCode

from core.errors import Conflict, Unavailable

_RETRY = RetryConfig(
    initial_interval_millis=50, max_interval_millis=300, max_elapsed_time_millis=1_500, max_retries=4
)


class Runs:
    """A client that connects when it is first needed, so that the process starts without Temporal."""

    def __init__(self, address: str, namespace: str) -> None:
        self._address = address
        self._namespace = namespace
        self._client: Client | None = None
        self._making = asyncio.Lock()

    async def cancel(self, workflow_id: str, run_id: str | None) -> None:
        """Ask a run to undo itself and end; raises Unavailable, and Conflict when it has ended already."""
        try:
            client = await self._connected()
            await client.get_workflow_handle(workflow_id, run_id=run_id).cancel()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise Conflict("its run has ended already", code="operation_over") from error
            raise _away() from error
        except (RuntimeError, OSError) as error:
            # Before the first connection the SDK says so in a RuntimeError.
            raise _away() from error

    async def _connected(self) -> Client:
        async with self._making:
            if self._client is None:
                self._client = await Client.connect(
                    self._address, namespace=self._namespace, lazy=True, retry_config=_RETRY
                )
            return self._client


def _away() -> Unavailable:
    return Unavailable("Temporal is away: the operation goes on as it was", retry_after_s=2)
