"""Every sample and every function has one owner, no CPU is lost on the way, and the picture tells all of it."""

import itertools
from xml.etree import ElementTree

import pytest

from bench import layers_split as split
from bench.layers_picture import drawn
from bench.layers_split import GROUPS, Cpu

ROOT = "/home/someone/planebase"
SITE = f"{ROOT}/.venv/lib/python3.11/site-packages"
LOOP = "Handle__run (/project/uvloop/loop.c:1);Py_DECREF (/opt/include/object.h:537);task_step (/x/_asynciomodule.c:2)"
SERVED = f"{LOOP};RequestResponseCycle.run_asgi ({SITE}/uvicorn/protocols/http/httptools_impl.py:422)"
EDGE = f"{SERVED};Edge.__call__ ({ROOT}/api/edge.py:133)"
LANE = f"{EDGE};Lane.__call__ ({ROOT}/api/data/lane.py:86)"
CHECKED = f"{LANE};create_record ({ROOT}/api/data/writes.py:50);RecordRequest.open ({ROOT}/api/data/requests.py:104)"
SENT = f"{LANE};get_record ({ROOT}/api/data/reads.py:65);Home._lent ({ROOT}/db/data/homes.py:193)"
FLUSHED = f"{LOOP};Loop._run ({ROOT}/api/loops.py:44);AccessRecords._flush ({ROOT}/api/access_log.py:53)"


@pytest.mark.parametrize(
    ("stack", "owner"),
    [
        (LOOP, split.SOCKETS),
        (SERVED, split.HTTP),
        (f"{SERVED};feed_data (/project/httptools/parser/parser.c:6373)", split.HTTP),
        (f"{SERVED};Event.__init__ (/usr/lib/python3.11/asyncio/locks.py:168)", split.HTTP),
        (
            f"{LOOP};Protocol.on_headers_complete ({ROOT}/api/protocol.py:37);free (/lib/libc.so.6)",
            split.HTTP,
        ),
        (f"{EDGE};__create_fn__.<locals>.__init__ (<string>:9)", split.EDGE),
        (f"{EDGE};new ({ROOT}/core/ids.py:34);time_ns (/usr/lib/libpython3.11.so.1.0)", split.EDGE),
        (f"{LANE};PyDict_GetItem (/usr/lib/libpython3.11.so.1.0)", split.EDGE),
        (CHECKED, split.CHECKS),
        (f"{CHECKED};authorize ({ROOT}/api/caller.py:64);0x7faa3ad8bb75 (/lib/libcrypto.so.3)", split.CHECKS),
        (f"{CHECKED};check ({ROOT}/core/body.py:9);0x7f ({SITE}/pydantic_core/_core.so)", split.BODY),
        (f"{LANE};get_record ({ROOT}/api/data/reads.py:65)", split.OTHER),
        (f"{LANE};compiled ({ROOT}/db/data/a_new_module.py:1)", split.OTHER),
        (SENT, split.DRIVER),
        (f"{SENT};execute ({SITE}/asyncpg/prepared_stmt.py:282)", split.DRIVER),
        (
            f"{SENT};bind (/project/asyncpg/protocol/protocol.c:1);new (/project/uvloop/loop.c:2)",
            split.SOCKETS,
        ),
        (FLUSHED, split.LOG),
        (f"{FLUSHED};Pool.acquire ({SITE}/asyncpg/pool.py:1)", split.LOG),
        (f"{EDGE};Background.note ({ROOT}/api/data/background.py:36)", split.LOG),
        ("main (/usr/lib/python3.11/runpy.py:1)", split.OTHER),
        (f"{SENT};try_write (/project/uvloop/loop.c:1);write (/lib/libc.so.6)", None),
        (f"{FLUSHED};getrandom (/lib/x86_64-linux-gnu/libc.so.6)", None),
        (f"{SERVED};write (/project/uvloop/loop.c:110189)", split.SOCKETS),
    ],
)
def test_a_sample_belongs_to_the_innermost_frame_that_is_anyones(stack: str, owner: str | None) -> None:
    assert split.layer(stack, ROOT) == owner


def test_samples_share_out_the_process_and_the_kernels_part_is_the_sockets() -> None:
    raw = [f"{EDGE} 30", f"{SENT} 60", f"{LOOP} 10", f"{SENT};write (/lib/libc.so.6) 500"]
    shares = split.process(raw, ROOT, Cpu(user_us=100.0, system_us=40.0))
    assert {layer: us for layer, us in shares.items() if us} == {
        split.EDGE: 30.0,
        split.DRIVER: 60.0,
        split.SOCKETS: 50.0,
    }
    assert set(shares) == set(GROUPS["Data API"])


def test_functions_share_out_the_backends_and_what_they_leave_is_messages_and_commit() -> None:
    self_ms = {
        "write": 100.0,
        "in_a_policy": 20.0,
        "enter_to_write": 30.0,
        "log_update": 40.0,
        "remember": 5.0,
        "remember_together": 5.0,
    }
    shares = split.backend(self_ms, 400.0, Cpu(user_us=200.0, system_us=10.0))
    assert shares == {
        split.STATEMENT: 60.0,
        split.ENTER: 15.0,
        split.CHANGES: 20.0,
        split.REMEMBER: 5.0,
        split.BACKEND: 110.0,
    }


def test_functions_that_took_longer_than_the_backends_were_active_share_out_no_more_than_there_is() -> None:
    shares = split.backend({"read": 90.0, "enter": 30.0}, 100.0, Cpu(user_us=40.0, system_us=0.0))
    assert shares[split.STATEMENT] == 30.0
    assert sum(shares.values()) == 40.0


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="no samples"):
        split.process([f"{SENT};write (/lib/libc.so.6) 500"], ROOT, Cpu(100.0, 40.0))
    with pytest.raises(ValueError, match="no functions"):
        split.backend({"read": 0.0}, 100.0, Cpu(100.0, 40.0))


def test_the_picture_has_every_figure_and_bars_as_long_as_they_say() -> None:
    layers = [layer for group in GROUPS.values() for layer in group]
    found = {
        title: {layer: times * (10.0 + n) for n, layer in enumerate(layers)}
        for times, title in enumerate(("get", "a < b"), start=1)
    }
    picture = drawn(found)
    assert drawn(found) == picture
    svg = ElementTree.fromstring(picture)
    of = "{http://www.w3.org/2000/svg}"
    parts = [each.attrib for each in svg.iter(f"{of}rect") if each.find(f"{of}title") is not None]
    bars = parts[: len(layers)], parts[len(layers) :]
    assert len(bars[0]) == len(bars[1]) == len(layers)
    for bar in bars:
        for left, right in itertools.pairwise(bar):
            assert float(right["x"]) == pytest.approx(float(left["x"]) + float(left["width"]), abs=0.2)
    first, second = (sum(float(part["width"]) for part in bar) for bar in bars)
    assert second == pytest.approx(2 * first, rel=0.01)
    words = [each.text for each in svg.iter(f"{of}text")]
    assert {"a < b", *layers} <= set(words)
    for us in (us for each in found.values() for us in each.values()):
        assert f"{us:.0f}" in words
