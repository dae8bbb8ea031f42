"""A real Slurm with two nodes on this host, without accounting, for tests: everything it keeps lies in one folder."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path

# Debian: slurmctld slurmd slurm-client munge
PROGRAMS = ("slurmctld", "slurmd", "sinfo", "sbatch", "munged", "mungekey")

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock
SlurmctldPort=16817
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MailProg=/bin/true
KillWait=5
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no cluster can be started here; None where one can."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        return f"no {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)"
    return None if os.geteuid() == 0 else "Slurm's daemons need root"


class SlurmCluster:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.conf = folder / "slurm.conf"
        self.conf.write_text(_CONF.format(folder=folder, host=platform.node()))
        for name in ("state", "spool.n1", "spool.n2"):
            (folder / name).mkdir()

    def start(self) -> None:
        os.environ["SLURM_CONF"] = str(self.conf)
        key = self._folder / "munge.key"
        self._run("mungekey", "--create", f"--keyfile={key}")
        files = [f"--{kind}-file={self._folder}/munged.{kind}" for kind in ("pid", "log", "seed")]
        self._run("munged", f"--key-file={key}", f"--socket={self._folder}/munge.sock", *files, "--force")
        self._run("slurmctld", "-c")
        for node in ("n1", "n2"):
            self._run("slurmd", "-N", node)
        deadline = time.monotonic() + 30
        while self._run("sinfo", "-h", "-t", "idle", "-o", "%D").strip() != "2":
            assert time.monotonic() < deadline, "the two nodes did not come up"
            time.sleep(0.2)

    def stop(self) -> None:
        for name in ("slurmd.n1.pid", "slurmd.n2.pid", "slurmctld.pid", "munged.pid"):
            file = self._folder / name
            if file.exists():
                os.kill(int(file.read_text()), signal.SIGTERM)

    def _run(self, *command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
