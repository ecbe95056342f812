"""A Slurm of one node, as another user of this machine would have it: no systemd, no fixed port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from quick import free_port

DAEMONS = ("munged", "slurmctld", "slurmd")

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes={host} Default=YES State=UP
"""


def missing() -> str | None:
    """Why there can be no cluster here; None: there can."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacking = [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=path) is None]
    if lacking:
        return f"no {', '.join(lacking)} here (Debian: slurmctld, slurmd, slurm-client, munge)"
    return None if os.geteuid() == 0 else "slurmd starts jobs as root only"


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Run the daemons while this is open.

    Args:
        folder: for all that they write; its path is short, since it has a socket in it.

    Yields:
        The variables that Slurm's commands need to find them.
    """
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    environment["SLURM_CONF"] = str(folder / "slurm.conf")
    host = socket.gethostname().split(".")[0]
    ports = free_port(), free_port()
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    (folder / "slurm.conf").write_text(_CONF.format(folder=folder, host=host, ports=ports))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    munge = [f"--{name}={folder}/munge.{end}" for name, end in (
        ("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"),
        ("seed-file", "seed"),
    )]  # fmt: skip
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str, ready: Callable[[], bool]) -> None:
        with (folder / f"{command[0]}.out").open("wb") as out:
            running.append(
                subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=folder)
            )
        until(lambda: ready() or running[-1].poll() is not None, f"{command[0]} starts")
        assert running[-1].poll() is None, (folder / f"{command[0]}.out").read_text()

    def says(*command: str) -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.stdout

    try:
        start("munged", "--foreground", "--force", *munge, ready=(folder / "munge.socket").exists)
        start("slurmctld", "-D", ready=lambda: "UP" in says("scontrol", "ping"))
        start("slurmd", "-D", ready=lambda: "idle" in says("sinfo", "-h", "-o", "%T"))
        yield {name: environment[name] for name in ("PATH", "SLURM_CONF")}
    finally:
        for daemon in reversed(running):
            daemon.terminate()
        for daemon in running:
            daemon.wait(20)


def until(so: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)
