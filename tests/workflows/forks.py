"""Forks worker processes on request: as real and as mortal as any other, without a second of imports each.

One JSON object per line in: {"env": …, "args": […], "log": path}; out: {"pid": n}, and {"ended": n, "code": n}.
At the end of its input it kills what is left and goes.
"""

import json
import os
import select
import signal
import sys

from workers import main


def _fork(job: dict) -> int:
    pid = os.fork()
    if pid:
        return pid
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.environ.update(job["env"])
    try:
        main.main(job["args"])
    finally:
        os._exit(70)


def _say(**what: int) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def serve() -> None:
    living: set[int] = set()
    while True:
        readable, _, _ = select.select([0], [], [], 0.02)
        if readable:
            line = sys.stdin.readline()
            if not line:
                break
            living.add(pid := _fork(json.loads(line)))
            _say(pid=pid)
        for pid in list(living):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                living.discard(pid)
                _say(ended=pid, code=os.waitstatus_to_exitcode(status))
    for pid in living:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
