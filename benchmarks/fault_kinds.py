"""Ways to hurt a running command: signals to one of its processes, a full disk, a second driver."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.dying import VARIABLE
from benchmarks.fault_workload import Workload

Hurt = Callable[[psutil.Process], str]
HUNG = 124
"""Stands for the exit code of a command that had to be ended."""
_TIME_LIMIT = 900
_DISK = "size=4m"


def driver(run: psutil.Process) -> str:
    """Kill the command itself; returns the name of what was hit, as all of these do."""
    run.kill()
    return "driver"


def worker(run: psutil.Process) -> str:
    """Kill one of its worker processes, with all that it holds in memory."""
    return _hit(_workers(run), psutil.Process.kill)


def node(run: psutil.Process) -> str:
    """Kill Ray's node manager, which takes every worker of its node with it."""
    managers = [p for p in run.children(recursive=True) if _name(p).endswith("raylet")]
    return _hit(managers, psutil.Process.kill)


def stall(worker: str, folder: Path, begun: str) -> Hurt:
    """Stop a worker for ever, as a dead network share does, once a file of that pattern is there.

    Only one of those that have the work in hand: nothing watches over Ray's own start of a process.
    """

    def hurt(run: psutil.Process) -> str:
        if not _published(folder, begun):
            return ""
        return _hit([p for p in _workers(run) if worker in _name(p)], psutil.Process.suspend)

    return hurt


def _hit(candidates: list[psutil.Process], how: Callable[[psutil.Process], None]) -> str:
    if not candidates:
        return ""
    victim = random.choice(candidates)
    name = _name(victim).rpartition("/")[2]
    how(victim)
    return name


def driver_when_begun(folder: Path, begun: str) -> Hurt:
    """Kill the command once a file of that pattern is there."""
    return lambda run: driver(run) if _published(folder, begun) else ""


SIGNALS: dict[str, Hurt] = {"driver": driver, "worker": worker, "node": node}


@contextmanager
def watched(run: subprocess.Popen[bytes]) -> Iterator[list[psutil.Process]]:
    """Collects every process that a command starts; whatever is left of them is ended at the end."""
    seen: list[psutil.Process] = []
    try:
        yield seen
    finally:
        collect(run, seen)
        for process in [*seen, psutil.Process(run.pid)] if run.poll() is None else seen:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        run.wait()


def collect(run: subprocess.Popen[bytes], seen: list[psutil.Process]) -> None:
    """Add the processes that the command has now."""
    with suppress(psutil.NoSuchProcess):
        seen += [p for p in psutil.Process(run.pid).children(recursive=True) if p not in seen]


def hurt_at(
    run: subprocess.Popen[bytes], hurt: Hurt, seconds: float, seen: list[psutil.Process]
) -> tuple[str, float]:
    """Hurt a command some seconds after its start, or as soon after as there is something to hurt.

    Returns:
        What was hit, and when; an empty name where the command was faster.
    """
    began = time.monotonic()
    while run.poll() is None:
        collect(run, seen)
        passed = time.monotonic() - began
        with suppress(psutil.NoSuchProcess):
            if passed >= seconds and (name := hurt(psutil.Process(run.pid))):
                return name, passed
        time.sleep(0.2)
    return "", float("nan")


def ended(run: subprocess.Popen[bytes]) -> int:
    """The exit code of a command, negative for a signal; `HUNG` where it does not end by itself."""
    try:
        return run.wait(_TIME_LIMIT)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait()
        return HUNG


def two_drivers(workload: Workload, inputs: Path, output: Path) -> int:
    """The same command twice at once; returns the exit code of the one that was refused."""
    first, second = workload.start(inputs, output), workload.start(inputs, output)
    with watched(first), watched(second):
        return max(ended(run) for run in (first, second))


def die_at(workload: Workload, inputs: Path, output: Path, moment: str) -> tuple[bool, int]:
    """A worker dies once at a moment of the library's own; returns whether one did, and the exit code."""
    with tempfile.NamedTemporaryFile(prefix="ames-ray-fault-", delete=False) as token:
        run = workload.start(inputs, output, **{VARIABLE: f"{moment}:{token.name}"})
    with watched(run):
        code = ended(run)
    died = not Path(token.name).exists()
    Path(token.name).unlink(missing_ok=True)
    return died, code


def tear(folder: Path, begun: str) -> None:
    """Cut the last file of that pattern short, as a power cut does to what the disk had not written yet."""
    last = max(_published(folder, begun))
    with last.open("r+b") as handle:
        handle.truncate(last.stat().st_size * 2 // 3)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of 4 MB at a folder; says whether one can be mounted here."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", _DISK, "tmpfs", str(folder)]
    possible = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield possible
    finally:
        if possible:
            subprocess.run(["umount", str(folder)], check=True)


def fill_when_begun(run: subprocess.Popen[bytes], folder: Path, begun: str, filler: Path) -> None:
    """Take all free space once the command has published a file of that pattern."""
    while run.poll() is None and not _published(folder, begun):
        time.sleep(0.02)
    with suppress(OSError), filler.open("wb", buffering=0) as handle:
        while run.poll() is None:
            handle.write(bytes(4096))
            time.sleep(0 if handle.tell() < 3_000_000 else 0.001)


def _published(folder: Path, begun: str) -> list[Path]:
    return [path for path in folder.rglob(begun) if path.is_file()]


def _workers(run: psutil.Process) -> list[psutil.Process]:
    # A node whose agent dies ends itself, so that agents count as nodes and not as workers.
    others = ("IDLE", "Agent")
    named = [(process, _name(process)) for process in run.children(recursive=True)]
    return [p for p, name in named if "ray::" in name and not any(other in name for other in others)]


def _name(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    return words[0] if words else ""
