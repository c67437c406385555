"""Whose the microseconds are: sampled stacks and function times in, microseconds by layer out."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LOAD = "load generator"
SOCKETS = "sockets and event loop"
HTTP = "HTTP protocol"
EDGE = "edge and lane"
CHECKS = "token and request checks"
BODY = "body check"
DRIVER = "database driver"
OTHER = "the rest of our code"
LOG = "access log, counters"
BACKEND = "messages, commit, loop"
ENTER = "entering the tenant"
STATEMENT = "the statement"
CHANGES = "change-log trigger"
REMEMBER = "idempotency row"
LOG_ROWS = "access log rows"
BACKGROUND = "WAL writer and the like"

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Load generator": (LOAD,),
    "Data API": (SOCKETS, HTTP, EDGE, CHECKS, BODY, DRIVER, OTHER, LOG),
    "PostgreSQL": (BACKEND, ENTER, STATEMENT, CHANGES, REMEMBER, LOG_ROWS, BACKGROUND),
}
"""Every layer, by process, in the order in which it is shown."""

_FRAME = re.compile(r"(?P<function>.*) \((?P<path>[^()]*?)(?::\d+)?\)")
_SYSCALLS = frozenset(
    {"read", "readv", "recv", "recvfrom", "recvmsg", "write", "writev", "send", "sendto", "sendmsg"}
    | {"epoll_ctl", "epoll_wait", "epoll_pwait", "futex", "getrandom", "poll"}
)
_FOREIGN = (
    ("/uvloop/", SOCKETS),
    ("/libuv", SOCKETS),
    ("/httptools/", HTTP),
    ("/llhttp/", HTTP),
    ("/uvicorn/", HTTP),
    ("/starlette/", HTTP),
    ("/asyncpg/", DRIVER),
)
_OUR_LOG = ("api/access_log", "api/data/background", "api/loops", "db/activity/")
_OURS = (
    ("api/protocol", HTTP),
    ("api/serve", HTTP),
    ("api/edge", EDGE),
    ("api/data/lane", EDGE),
    ("api/data/app", EDGE),
    ("api/problems", EDGE),
    ("api/caller", CHECKS),
    ("api/once", CHECKS),
    ("api/paging", CHECKS),
    ("api/strict", CHECKS),
    ("api/data/requests", CHECKS),
    ("api/data/bounds", CHECKS),
    ("api/data/preferences", CHECKS),
    ("core/access", CHECKS),
    ("core/filter", CHECKS),
    ("core/token", CHECKS),
    ("core/view", CHECKS),
    ("db/control/", CHECKS),
    ("db/data/catalog", CHECKS),
    ("api/data/rows", BODY),
    ("core/", BODY),
    ("db/data/homes", DRIVER),
    ("db/lines", DRIVER),
    ("db/pools", DRIVER),
    ("db/together", DRIVER),
    ("api/", OTHER),
    ("db/", OTHER),
)
"""By the beginning of a module's path; the first that fits."""
_SHARED = ("core/errors", "core/ids")
"""What everyone calls is its caller's."""


@dataclass(frozen=True)
class Cpu:
    """A process's CPU, in microseconds: its own, and the kernel's for it."""

    user_us: float
    system_us: float

    @property
    def total_us(self) -> float:
        """All of it."""
        return self.user_us + self.system_us


def layer(stack: str, root: str) -> str | None:
    """Return the layer of one sampled stack, of frames `function (path:line)` from the outermost; None in a syscall.

    It is the innermost frame's that belongs to anyone: the interpreter, C libraries and the standard library work
    for their caller, and the access log is one whatever it calls. `root` is the checkout's folder.
    """
    frames = [(m["function"], m["path"]) for frame in stack.split(";") if (m := _FRAME.fullmatch(frame))]
    if frames and frames[-1][0] in _SYSCALLS and "/libc" in frames[-1][1]:
        return None
    found = None
    for _, path in reversed(frames):
        ours = path.removeprefix(f"{root}/")
        if ours == path or ours.startswith(".venv/"):
            found = found or next((layer for part, layer in _FOREIGN if part in path), None)
        elif ours.startswith(_OUR_LOG):
            return LOG
        elif not ours.startswith(_SHARED):
            found = found or next((layer for start, layer in _OURS if ours.startswith(start)), None)
    return found or OTHER


def process(raw: Iterable[str], root: str, cpu: Cpu) -> dict[str, float]:
    """Share out the CPU of the Data API's process by its samples, lines of `stack count`.

    Only samples outside of syscalls count: after a write the process often stands in line behind the backend that
    it woke, and a sample cannot tell that from work. What the kernel did is known without them, and the sockets'.
    """
    samples: Counter[str] = Counter()
    for line in raw:
        stack, _, count = line.rpartition(" ")
        if (owner := layer(stack, root)) is not None:
            samples[owner] += int(count)
    if not samples:
        raise ValueError("there are no samples to share out by")
    shares = {owner: cpu.user_us * samples[owner] / samples.total() for owner in GROUPS["Data API"]}
    shares[SOCKETS] += cpu.system_us
    return shares


def backend(self_ms: Mapping[str, float], active_ms: float, cpu: Cpu) -> dict[str, float]:
    """Share out the CPU of the backends by what their functions took, each without what it called.

    `active_ms` is how long the backends were active; what the functions did not take of it is messages and commit,
    and so is what the kernel did.
    """
    shares = dict.fromkeys((BACKEND, ENTER, STATEMENT, CHANGES, REMEMBER), 0.0)
    for name, ms in self_ms.items():
        shares[_of_function(name)] += ms
    in_functions = sum(shares.values())
    if not in_functions:
        raise ValueError("there are no functions to share out by")
    whole = max(active_ms, in_functions)
    shares[BACKEND] = whole - in_functions
    shares = {owner: cpu.user_us * ms / whole for owner, ms in shares.items()}
    shares[BACKEND] += cpu.system_us
    return shares


def _of_function(name: str) -> str:
    starts = (("enter", ENTER), ("log_", CHANGES), ("remember", REMEMBER))
    return next((owner for start, owner in starts if name.startswith(start)), STATEMENT)
