"""The embedded Temporal server: its settings, its file, and what happens where none can be had."""

import os
import sys
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from planebase import temporal_cli
from planebase.ports import free_port
from planebase.temporal import SEARCH_ATTRIBUTES, Server, TemporalError


async def test_it_has_our_search_attributes_and_its_file_has_one_server(tmp_path: Path) -> None:
    with Server(tmp_path, free_port(), free_port()) as server:
        client = await Client.connect(server.address)
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace="default")
        )
        assert set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes)
        with pytest.raises(TemporalError, match="another process"):
            Server(tmp_path, free_port(), free_port()).start()


def test_a_named_binary_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLANEBASE_TEMPORAL", str(tmp_path / "none"))
    with pytest.raises(temporal_cli.TemporalMissing, match="PLANEBASE_TEMPORAL"):
        temporal_cli.find()


def test_where_none_can_be_had_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PLANEBASE_TEMPORAL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))  # no `temporal`, no `go`
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # no way out
    said: list[str] = []
    with pytest.raises(temporal_cli.TemporalMissing, match=r"Install either the Temporal CLI .* or Go"):
        temporal_cli.ensure(said.append)
    assert any("official download cannot be used" in line for line in said)


@pytest.mark.parametrize(
    ("said", "doing"),
    [
        ("go: downloading go.uber.org/fx v1.2\ngo: downloading go.uber.org/dig v1.1\n", "2 modules fetched"),
        ("go: downloading go.uber.org/fx v1.2\nerrors\nio\n", "2 packages compiled"),
        ("io\ngithub.com/temporalio/cli/cmd/temporal\n", "all 2 packages compiled but the last"),
    ],
)
def test_a_build_whose_length_is_unknown_tells_what_it_is_at_and_no_share(said: str, doing: str) -> None:
    assert temporal_cli._doing(said.encode()).startswith(doing)
