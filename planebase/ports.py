"""TCP ports on this machine's loopback address."""

import random
import socket
import urllib.error
import urllib.request

import psutil  # type: ignore[import-untyped]

HOST = "127.0.0.1"


def is_open(port: int, timeout_s: float = 0.5) -> bool:
    """Whether something accepts connections on `port`."""
    try:
        with socket.create_connection((HOST, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        # As servers do: a port whose last connection is only lingering in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def user_of(port: int) -> str:
    """Who listens on `port`, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp4"):
            if (
                connection.laddr
                and connection.laddr.port == port
                and connection.status == "LISTEN"
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return "another program"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def free_base(span: int = 32) -> int:
    """The first of `span` ports in a row that are free, below the range that the system hands out.

    Any place will do, and two that look at the same moment should not find the same one.
    """
    bases = range(9200, 32000, 100)
    for base in random.sample(bases, len(bases)):
        if all(is_free(base + offset) for offset in range(span)):
            return base
    raise RuntimeError(f"no {span} free ports in a row on {HOST}")


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether a GET of this loopback `url` is answered with a 2xx."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot see our loopback
    try:
        with opener.open(url, timeout=timeout_s) as response:
            return 200 <= int(response.status) < 300
    except (urllib.error.URLError, OSError, ValueError):
        return False
