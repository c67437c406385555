"""How a notification is delivered: when it is tried again, how it is signed, and where it may not go."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from core.errors import Invalid

# Standard Webhooks: 75.6 hours in all. Each entry is the wait before that attempt.
DELAYS_S: tuple[float, ...] = (
    0,
    5,
    300,
    1_800,
    7_200,
    18_000,
    36_000,
    50_400,
    72_000,
    86_400,
)
RETRY_AFTER_MAX_S = 3_600.0
ANSWER_MAX_BYTES = 65_536

_TITLES = {
    "RUNS_THRESHOLD": "Runs are near or over the plan's limit",
    "STORAGE_THRESHOLD": "Storage is near or over the plan's limit",
    "RECORDS_THRESHOLD": "Records are near or over the plan's limit",
    "RATE_LIMIT": "Calls are being limited",
    "WALLET_LOW_BALANCE": "The wallet is low",
    "REFILL_FAILED": "A wallet refill failed",
    "DELIVERY_FAILED": "Notifications do not arrive",
    "INVARIANT_BROKEN": "A check of the platform failed",
}

Verdict = Literal["sent", "retry", "gone"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Target:
    """Where a webhook goes, as its address reads; the name is resolved and vetted later."""

    scheme: str
    host: str
    port: int
    path: str


def title(kind: str, severity: str) -> str:
    """Return one line for people."""
    return f"[{severity}] {_TITLES.get(kind, kind)}"


def lines(kind: str, severity: str, context: Mapping[str, Any]) -> list[str]:
    """Return a message for people, line by line."""
    return [
        title(kind, severity),
        "",
        *(f"{name.replace('_', ' ')}: {value}" for name, value in context.items()),
    ]


def next_delay_s(
    delays_s: Sequence[float], attempts: int, *, retry_after_s: float | None = None, jitter: float = 0.0
) -> float | None:
    """Return the wait before the next attempt after `attempts`, or None when the table is used up.

    `jitter` in [0, 1) stretches it by up to a tenth; a receiver's Retry-After is honoured up to an hour.
    """
    if attempts >= len(delays_s):
        return None
    delay = delays_s[attempts] * (1 + jitter / 10)
    if retry_after_s is not None:
        delay = max(delay, min(retry_after_s, RETRY_AFTER_MAX_S))
    return delay


def verdict(status: int) -> Verdict:
    """Return what a receiver's status means: only 2xx took it, and 410 never wants to hear again."""
    if 200 <= status < 300:
        return "sent"
    return "gone" if status == 410 else "retry"


def retry_after_s(status: int, header: str | None) -> float | None:
    """Return the seconds that a receiver asks for; dates and everything odd count as not said."""
    if status not in (429, 502, 503, 504) or header is None or not header.strip().isdecimal():
        return None
    return float(header.strip()[:9])


def sign(message_id: str, timestamp_s: int, body: bytes, secret: str) -> str:
    """Return the Standard Webhooks signature `v1,…` of one attempt."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


_HOST = re.compile(r"^[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?$", re.IGNORECASE)


def target(url: str, *, allow_private: bool = False) -> Target:
    """Return where `url` leads; raises Invalid for anything but plain https on its own port.

    `allow_private` is for a stack on one machine: http and any port too.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Invalid("the address cannot be read", code="bad_url") from None
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise Invalid("a webhook's address starts with https://", code="bad_url")
    if parts.username is not None or parts.password is not None:
        raise Invalid("a webhook's address holds no user and no password", code="bad_url")
    host = parts.hostname or ""
    if not host or not (_HOST.match(host) or _is_ip(host)):
        raise Invalid("a webhook's address names a host", code="bad_url")
    if any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise Invalid("a webhook's address has no spaces and no control characters", code="bad_url")
    port = port or (443 if parts.scheme == "https" else 80)
    if port not in (443, 80) and not allow_private:
        raise Invalid("a webhook's address uses port 443 or 80", code="bad_url")
    path = parts.path or "/"
    return Target(parts.scheme, host, port, f"{path}?{parts.query}" if parts.query else path)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# Our own list: `is_global` calls NAT64, 6to4 and multicast public, and `is_private` misses 100.64/10.
_DENIED_V4 = tuple(
    ipaddress.IPv4Network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_DENIED_V6 = tuple(
    ipaddress.IPv6Network(net)
    for net in (
        "2001::/23",  # IETF protocol assignments, Teredo and ORCHID among them
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries any IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)


def refusal(address: Address) -> str | None:
    """Return why nothing of ours may connect to `address`, or None when it is a public one."""
    if isinstance(address, ipaddress.IPv4Address):
        hit: ipaddress.IPv4Network | ipaddress.IPv6Network | None
        hit = next((net for net in _DENIED_V4 if address in net), None)
        return f"{address} is in {hit}" if hit else None
    if address.ipv4_mapped is not None:
        return refusal(address.ipv4_mapped)
    # Whatever is not global unicast is refused: loopback, link-local, unique local, NAT64, multicast.
    if address not in _GLOBAL_V6:
        return f"{address} is not global unicast"
    hit = next((net for net in _DENIED_V6 if address in net), None)
    return f"{address} is in {hit}" if hit else None
