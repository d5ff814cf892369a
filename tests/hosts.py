"""Hosts out of network namespaces: each with an address, a disk of its own and a cable to pull.

server 10.77.N.1     agent 10.77.N.2     agent 10.77.N.3          bridge 10.77.N.254 (this host)
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Host:
    """One host; commands run there when put behind `prefix`."""

    name: str
    address: str
    cable: str

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)

    def with_disk(self, disk: Path, at: Path) -> tuple[str, ...]:
        """A prefix under which the folder `disk` lies at `at`, for this host alone, which has a name."""
        script = 'echo "$0" >/proc/sys/kernel/hostname && mount --make-rprivate / '
        script += '&& mount --bind "$1" "$2" && cd "$2" && shift 2 && exec "$@"'
        inside = ["unshare", "--mount", "--uts", "sh", "-c", script]
        return (*self.prefix, *inside, self.name, str(disk), str(at))

    def cut(self) -> None:
        """Pull the cable."""
        ip("link", "set", self.cable, "down")

    def plug(self) -> None:
        """Put it back."""
        ip("link", "set", self.cable, "up")


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def hosts(count: int) -> Iterator[tuple[str, list[Host]]]:
    """Make hosts; yields the address of this one, and them. Skips where that is not allowed."""
    if os.getuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    number = os.getpid() % 250
    bridge, near = f"sgmb{number}", f"10.77.{number}.254"
    with ExitStack() as stack:
        try:
            ip("link", "add", bridge, "type", "bridge")
            stack.callback(ip, "link", "del", bridge)
            ip("addr", "add", f"{near}/24", "dev", bridge)
            ip("link", "set", bridge, "up")
            made = [_host(stack, bridge, number, i + 1) for i in range(count)]
        except OSError as error:
            pytest.skip(f"no network namespaces here ({error})")
        yield near, made


def _host(stack: ExitStack, bridge: str, number: int, index: int) -> Host:
    host = Host(f"sgm{number}h{index}", f"10.77.{number}.{index}", f"sgmv{number}h{index}")
    ip("netns", "add", host.name)
    stack.callback(ip, "netns", "del", host.name)
    ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
    ip("link", "set", host.cable, "master", bridge, "up")
    for command in (
        ["addr", "add", f"{host.address}/24", "dev", "eth0"],
        ["link", "set", "eth0", "up"],
        ["link", "set", "lo", "up"],
    ):
        ip("-n", host.name, *command)
    return host
