"""DVC's remotes over SSH (a real sshd on loopback) and S3: push, wipe, pull, nothing to do. Slow."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flows_checkout import checkout, dvc
from s3_server import new_bucket, s3_server
from team import commit, free_port, until

__all__ = ["s3_server"]  # the fixture
pytestmark = pytest.mark.slow
STAGES = ["prepare@rolls", "reference@rolls"]
FOLDERS = ["data/prepared/rolls", "data/reference/rolls"]
SSHD = "/usr/sbin/sshd"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with its data stages made by DVC."""
    folder = checkout(tmp_path_factory.mktemp("remotes") / "project")
    commit(folder)
    done = dvc(folder, "repro", *STAGES)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """An SSH server with a key of its own; its port and the user's key."""
    if not Path(SSHD).exists():
        pytest.skip("no SSH server here: apt-get install openssh-server")
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    port = free_port()
    Path("/run/sshd").mkdir(exist_ok=True)
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": tmp_path / "host",
        "AuthorizedKeysFile": tmp_path / "user.pub", "StrictModes": "no", "UsePAM": "no",
        "PermitRootLogin": "prohibit-password", "PasswordAuthentication": "no",
        "PidFile": "none", "Subsystem": "sftp internal-sftp",
    }  # fmt: skip
    config = tmp_path / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    server = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(config)], stderr=(tmp_path / "sshd.log").open("w")
    )
    until(lambda: "Server listening" in (tmp_path / "sshd.log").read_text(), "sshd", 30)
    yield port, tmp_path / "user"
    server.kill()
    server.wait()


def comes_back(folder: Path, remote: str, run: Callable[..., None]) -> None:
    """Push to a remote, lose everything, pull from it: DVC finds nothing to do."""
    before = {f: (folder / f).read_bytes() for f in (f"{FOLDERS[0]}/dataset.json", "dvc.lock")}
    run("push", "-r", remote, *FOLDERS)
    for lost in (*FOLDERS, ".dvc/cache"):
        shutil.rmtree(folder / lost)
    run("pull", "-r", remote, *FOLDERS)
    assert {f: (folder / f).read_bytes() for f in before} == before
    done = dvc(folder, "repro", *STAGES)
    assert done.returncode == 0 and "Running stage" not in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("didn't change, skipping") == len(STAGES)


def test_data_comes_back_over_ssh(prepared: Path, ssh: tuple[int, Path], tmp_path: Path) -> None:
    port, key = ssh
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{tmp_path / 'remote'}"

    def run(*arguments: str) -> None:
        done = dvc(prepared, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    run("remote", "add", "--force", "over-ssh", url)
    run("remote", "modify", "--local", "over-ssh", "keyfile", str(key))
    comes_back(prepared, "over-ssh", run)
    assert any((tmp_path / "remote" / "files" / "md5").rglob("*"))


def test_data_comes_back_from_a_bucket(prepared: Path, s3_server: dict[str, str]) -> None:
    def run(*arguments: str) -> None:
        done = dvc(prepared, *arguments, **s3_server)
        assert done.returncode == 0, done.stdout + done.stderr

    run("remote", "add", "--force", "bucket", f"s3://{new_bucket(s3_server)}/dvc")
    comes_back(prepared, "bucket", run)
    assert "AWS" not in (prepared / ".dvc" / "config").read_text()
