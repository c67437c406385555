"""The embedded PostgreSQL: real servers, also as root, and nobody's folder is changed."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from planebase.ports import free_port
from planebase.postgres import Cluster, PostgresError

FAST = {"fsync": "off", "shared_buffers": "16MB"}


def modes(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owner of `folder` and of every folder above it."""
    return {path: (p.st_mode, p.st_uid, p.st_gid) for path in (folder, *folder.parents) if (p := path.stat())}


async def ask(cluster: Cluster, sql: str) -> object:
    conn = await asyncpg.connect(cluster.dsn())
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "postgres", free_port(), settings=FAST)
    yield cluster
    cluster.stop()


async def test_a_restart_continues_with_the_same_data_even_after_kill_9(cluster: Cluster) -> None:
    cluster.start()
    await ask(cluster, "create table kept as select 42 as answer")
    cluster.stop()
    cluster.start()
    assert await ask(cluster, "select answer from kept") == 42
    pid = int((cluster.pgdata / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    cluster.stop()
    cluster.start()
    assert await ask(cluster, "select answer from kept") == 42


async def test_it_listens_on_loopback_alone_and_wants_the_generated_password(cluster: Cluster) -> None:
    cluster.start()
    assert await ask(cluster, "show listen_addresses") == "127.0.0.1"
    assert await ask(cluster, "show unix_socket_directories") == ""
    assert await ask(cluster, "show data_checksums") == "on"
    assert await ask(cluster, "show wal_level") == "logical"
    assert (
        await ask(cluster, "select datlocprovider::text from pg_database where datname = 'postgres'") == "b"
    )
    assert stat.S_IMODE((cluster.data_dir / "superuser.password").stat().st_mode) == 0o600
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(cluster.dsn(password="wrong"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down to another user")
async def test_root_opens_nobodys_folder(tmp_path: Path) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    before = modes(closed)
    with Cluster(closed / "checkout" / "postgres", free_port(), settings=FAST) as cluster:
        owner = cluster.pgdata.stat()
        assert owner.st_uid != 0
        assert stat.S_IMODE(owner.st_mode) == 0o700
        assert await ask(cluster, "select 1") == 1
        assert not cluster.pgdata.is_relative_to(closed)
        assert (cluster.data_dir / "pgdata.path").read_text().strip() == str(cluster.pgdata)
    assert modes(closed) == before


async def test_one_folder_has_one_server(cluster: Cluster) -> None:
    cluster.start()
    with pytest.raises(PostgresError, match="another process is using"):
        Cluster(cluster.data_dir, free_port()).prepare()


async def test_a_pid_file_whose_number_is_anothers_by_now_does_not_hinder_the_start(cluster: Cluster) -> None:
    cluster.start()
    pid_file = cluster.pgdata / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    os.kill(int(lines[0]), signal.SIGKILL)
    cluster.stop()
    # As after a reboot: the number belongs to a program that is not PostgreSQL.
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    os.chown(pid_file, cluster.pgdata.stat().st_uid, cluster.pgdata.stat().st_gid)
    cluster.start()
    assert await ask(cluster, "select 1") == 1
