"""Deliveries: the waits between attempts, the signature, and the addresses that nothing connects to."""

import base64
import hashlib
import hmac
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import notification
from core.errors import Invalid

REFUSED = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 127.0.0.1 127.255.255.254 169.254.0.1
169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.8 192.0.0.170 192.0.2.1 192.31.196.1
192.52.193.1 192.88.99.1 192.168.0.1 192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.7
203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::8.8.8.8
::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1
100::1 2001::1 2001:0:4136:e378::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:a00:1::1
2620:4f:8000::1 3fff::1 5f00::1 fc00::1 fd12:3456::1 fe80::1 fec0::1 ff02::1 ff0e::1
""".split()  # noqa: SIM905
ALLOWED = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 93.184.216.34 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1
169.253.255.255 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 198.17.255.255 198.20.0.1
223.255.255.255 ::ffff:8.8.8.8 2001:200::1 2001:4860:4860::8888 2400:cb00::1 2606:4700::1111 2a00:1450::1
""".split()  # noqa: SIM905


@pytest.mark.parametrize("address", REFUSED)
def test_nothing_connects_to_a_private_or_special_address(address: str) -> None:
    assert notification.refusal(ipaddress.ip_address(address)) is not None


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_are_reached(address: str) -> None:
    assert notification.refusal(ipaddress.ip_address(address)) is None


@given(st.ip_addresses(v=4))
def test_no_way_of_writing_an_ipv4_address_opens_it(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    assert (notification.refusal(mapped) is None) == (notification.refusal(address) is None)
    for prefix in ("::", "64:ff9b::", "64:ff9b:1::"):
        assert notification.refusal(ipaddress.IPv6Address(f"{prefix}{address}")) is not None


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_is_refused(address: ipaddress.IPv4Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert notification.refusal(address) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com/",
        "https://",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com:8443/",
        "https://exa mple.com/",
        "//example.com/",
        "example.com",
        "https://example.com:99999/",
        "https://[::1",
        "https://exa\nmple.com/",
        "javascript:alert(1)",
        "https://example.com/a b",
        "https://-example.com/",
    ],
)
def test_an_address_that_is_no_plain_https_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        notification.target(url)


def test_a_plain_address_is_read() -> None:
    assert notification.target("https://hooks.example.com/a?b=c") == notification.Target(
        "https", "hooks.example.com", 443, "/a?b=c"
    )
    assert notification.target("https://example.com").path == "/"
    local = notification.target("http://127.0.0.1:9999/x", allow_private=True)
    assert (local.scheme, local.host, local.port) == ("http", "127.0.0.1", 9999)


def test_the_table_is_standard_webhooks() -> None:
    assert sum(notification.DELAYS_S) == pytest.approx(75.6 * 3600, rel=0.01)
    assert list(notification.DELAYS_S) == sorted(notification.DELAYS_S)


@given(st.integers(0, 12), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e6))
def test_a_wait_follows_the_table_and_ends_with_it(attempts: int, jitter: float, asked: float | None) -> None:
    delay = notification.next_delay_s(notification.DELAYS_S, attempts, retry_after_s=asked, jitter=jitter)
    if attempts >= len(notification.DELAYS_S):
        assert delay is None
        return
    assert delay is not None
    assert delay >= notification.DELAYS_S[attempts]
    assert delay <= max(notification.DELAYS_S[attempts] * 1.1, notification.RETRY_AFTER_MAX_S)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "7", 7.0),
        (503, " 30 ", 30.0),
        (500, "7", None),
        (429, None, None),
        (429, "soon", None),
        (429, "-1", None),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", None),
        (503, "9" * 40, 999_999_999.0),
    ],
)
def test_retry_after_is_read_when_it_is_seconds(
    status: int, header: str | None, seconds: float | None
) -> None:
    assert notification.retry_after_s(status, header) == seconds


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, "sent"),
        (204, "sent"),
        (299, "sent"),
        (301, "retry"),
        (400, "retry"),
        (410, "gone"),
        (429, "retry"),
        (500, "retry"),
        (199, "retry"),
    ],
)
def test_only_2xx_took_it(status: int, verdict: str) -> None:
    assert notification.verdict(status) == verdict


def test_a_signature_is_what_a_receiver_computes() -> None:
    key = b"0123456789abcdef0123456789abcdef"
    secret = "whsec_" + base64.b64encode(key).decode()
    expected = hmac.new(key, b'id1.1700000000.{"a":1}', hashlib.sha256).digest()
    assert (
        notification.sign("id1", 1_700_000_000, b'{"a":1}', secret)
        == "v1," + base64.b64encode(expected).decode()
    )
    assert notification.sign("id2", 1_700_000_000, b'{"a":1}', secret) != notification.sign(
        "id1", 1_700_000_000, b'{"a":1}', secret
    )


def test_the_signature_is_that_of_the_specification() -> None:
    # The example of the Standard Webhooks libraries.
    signature = notification.sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
