"""Calls that went together and whose answer was lost: whether they were done is not known, so nobody is told that."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from core import ids
from tests.api.data.bursts import Sent, burst, key, made
from tests.api.data.test_outages import caller, running
from tests.api.data.world import Base, World

_MET = (b'},{"fields"', b"[{},{}")
"""What is sent of several calls, and of none by itself."""


class Loss:
    """A wire that, once armed, loses the first answer to calls that went together, and breaks that connection."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.is_armed = False
        self.lost = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        asked = False

        async def there() -> None:
            nonlocal asked
            while data := await reader.read(1_000_000):
                asked = asked or (self.is_armed and any(part in data for part in _MET))
                far_writer.write(data)
                await far_writer.drain()
            far_writer.close()

        async def back() -> None:
            while data := await far_reader.read(1_000_000):
                if asked and not self.lost:
                    self.lost += 1
                    writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
            writer.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(there(), back())


@contextlib.asynccontextmanager
async def losing(world: World, base: Base) -> AsyncIterator[Loss]:
    """The base's tenant behind such a wire."""
    made_loss = Loss(world.databases.cluster.port)
    server = await asyncio.start_server(made_loss.serve, "127.0.0.1", 0)
    made_loss.port = server.sockets[0].getsockname()[1]
    cluster_id = f"loss-{made_loss.port}"
    await world.control(
        "insert into control.clusters (id, host, port, database, region, class)"
        " values ($1, '127.0.0.1', $2, 'data', 'local', 'dedicated')",
        cluster_id,
        made_loss.port,
    )
    sql = "update gateway.placements set cluster_id = $2 where tenant_id = $1"
    await world.control(sql, base.tenant_id, cluster_id)
    try:
        yield made_loss
    finally:
        server.close()


@pytest.mark.parametrize("with_keys", [False, True], ids=["without keys", "with keys"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PATCH of a version", "PUT", "DELETE"])
async def test_whose_answer_is_lost_is_not_told_that_he_was_refused(
    base: Base, world: World, method: str, with_keys: bool
) -> None:
    async with losing(world, base) as loss, running(world) as app:
        http = caller(app, await base.token())
        records = await made(http, base, 12)
        method, *of_version = method.split(" ", 1)
        calls: list[Sent] = []
        for n, record_id in enumerate(records):
            body = {} if method == "DELETE" else {"json": {"fields": {"Name": "new", "Count": n}}}
            headers = ({"If-Match": '"v1"'} if of_version else {}) | (key(ids.new()) if with_keys else {})
            url = base.path() if method == "POST" else f"{base.path()}/{record_id}"
            calls.append((method, url, body | {"headers": headers}))
        loss.is_armed = True
        answers = await burst(http, calls)
        assert loss.lost == 1
        said = Counter(a.status_code for a in answers)
        done = 201 if method == "POST" else 200
        # With a key one may also find out that it was done; without, nothing is done a second time to find out.
        assert said.keys() <= {done, 503}, said
        assert with_keys or said[503] > 5
        if with_keys:
            again = await burst(http, calls)
            assert {a.status_code for a in again} == {done}
        changes = await world.changes(base)
        assert len(changes) == 12 + 12
        assert len({c["operation_id"] for c in changes}) == 1 + 12
