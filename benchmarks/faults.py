"""Random kills: what survives them, and whether the same command makes good what they cost.

python -m benchmarks.faults                                  # 50 disturbances, about an hour on two cores
python -m benchmarks.faults --kills 6 --seed 7 --workloads extract

After each disturbance the same command is given again until it ends well, and its output is compared with
that of a run that nobody disturbed: rows lost, rows doubled, bytes, temporary files.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import fault_kinds
from benchmarks.fault_workload import Workload
from benchmarks.fault_workloads import WORKLOADS
from benchmarks.record import save

_RESUMES = 4
_TRIES, _SOONER = 5, 0.75
_SPECIAL = ("two drivers", "full disk")
_AT_A_FILE = ("stall", "torn file")


@dataclass(frozen=True)
class Disturbance:
    """One line of the table.

    Attributes:
        workload: What was disturbed.
        kind: How.
        ended: Exit code of the disturbed command; negative for a signal.
        resumes: How often the command was given again until it ended well.
        lost: Rows that are missing afterwards.
        doubled: Rows that are there more than once.
        same_bytes: Whether all is as without the disturbance.
        orphans: Temporary files that are left.
        victim: The process that was hit, where one was chosen.
        at: When it was hit [s after the start].
    """

    workload: str
    kind: str
    ended: int
    resumes: int
    lost: int
    doubled: int
    same_bytes: bool
    orphans: int
    victim: str = ""
    at: float | None = None

    @property
    def sound(self) -> bool:
        """Whether the disturbance cost nothing but time."""
        whole = self.same_bytes and not (self.lost or self.doubled or self.orphans)
        return whole and self.ended != fault_kinds.HUNG


class Suite:
    """Disturbs one workload in a folder of its own.

    Args:
        workload: What to disturb.
        inputs: Where the input goes, which may hold that of other workloads.
        outputs: Where all outputs go.
    """

    def __init__(self, workload: Workload, inputs: Path, outputs: Path) -> None:
        self._workload = workload
        self._inputs = inputs
        self._outputs = outputs
        self._outputs.mkdir()
        self._inputs.mkdir(exist_ok=True)
        workload.prepare(self._inputs)
        plain = self._outputs / "undisturbed"
        began = time.monotonic()
        # A machine that is busy enough does not even let Ray start at the first time.
        tries = self._resume(plain)
        if tries > _RESUMES:
            raise RuntimeError(f"{workload.name} fails without any disturbance")
        self.seconds = (time.monotonic() - began) / tries
        self._digest = workload.digest(plain)

    def kinds(self) -> list[str]:
        """What can be done to the workload."""
        moments = [f"at {moment}" for moment in self._workload.moments]
        some = [("stall", self._workload.worker), ("torn file", self._workload.can_tear)]
        return [*fault_kinds.SIGNALS, *moments, *(kind for kind, can in some if can), *_SPECIAL]

    def disturb(self, kind: str, chance: random.Random) -> Disturbance:
        """One disturbance, and what became of the output.

        Raises:
            RuntimeError: It never comes about.
        """
        for number in range(_TRIES):
            # What there is to hit may be gone long before the command ends.
            if (found := self._try(kind, chance, latest=0.95 * _SOONER**number)) is not None:
                return found
        raise RuntimeError(f"{kind} never comes about in {self._workload.name}")

    def _try(self, kind: str, chance: random.Random, latest: float) -> Disturbance | None:
        """One disturbance, or nothing where the command was over before it."""
        output = self._outputs / "disturbed"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        worker, begun = self._workload.worker, self._workload.begun
        hurts = {
            **fault_kinds.SIGNALS,
            "stall": fault_kinds.stall(worker, output, begun),
            "torn file": fault_kinds.driver_when_begun(output, begun),
        }
        if kind in hurts:
            return self._hit(kind, hurts[kind], output, chance, latest)
        if kind == "full disk":
            return self._on_a_small_disk(output)
        if kind == "two drivers":
            ended = fault_kinds.two_drivers(self._workload, self._inputs, output)
        else:
            died, ended = fault_kinds.die_at(self._workload, self._inputs, output, kind.removeprefix("at "))
            if not died:
                return None
        return self._compare(kind, ended, self._resume(output), output)

    def _hit(
        self, kind: str, hurt: fault_kinds.Hurt, output: Path, chance: random.Random, latest: float
    ) -> Disturbance | None:
        random.seed(chance.random())
        # These two wait for a file, and on a machine that got quicker a time drawn before may be too late.
        share = 0.0 if kind in _AT_A_FILE else chance.uniform(0.25, latest)
        began = time.monotonic()
        with self._workload.start(self._inputs, output) as run, fault_kinds.watched(run) as seen:
            victim, at = fault_kinds.hurt_at(run, hurt, share * self.seconds, seen)
            ended = fault_kinds.ended(run)
            if not victim:
                # The machine may have got quicker.
                self.seconds = min(self.seconds, time.monotonic() - began)
                return None
            if kind == "torn file":
                fault_kinds.tear(output, self._workload.begun)
            # Resumed while what is left of the killed run may still be at work.
            resumes = self._resume(output)
        return replace(self._compare(kind, ended, resumes, output), victim=victim, at=round(at, 2))

    def _on_a_small_disk(self, output: Path) -> Disturbance:
        with fault_kinds.small_disk(output) as possible:
            if not possible:
                raise RuntimeError("a small disk cannot be mounted here: run as root")
            with self._workload.start(self._inputs, output) as run, fault_kinds.watched(run):
                fault_kinds.fill_when_begun(run, output, self._workload.begun, output / "filler")
                ended = fault_kinds.ended(run)
            (output / "filler").unlink(missing_ok=True)
            return self._compare("full disk", ended, self._resume(output), output)

    def _run(self, output: Path) -> int:
        output.mkdir(exist_ok=True)
        with self._workload.start(self._inputs, output) as run, fault_kinds.watched(run):
            return fault_kinds.ended(run)

    def _resume(self, output: Path) -> int:
        for attempt in range(1, _RESUMES + 1):
            if self._run(output) == 0:
                return attempt
        return _RESUMES + 1

    def _compare(self, kind: str, ended: int, resumes: int, output: Path) -> Disturbance:
        if resumes > _RESUMES:
            return Disturbance(
                self._workload.name, kind, ended, resumes, self._workload.expected, 0, False, 0
            )
        found = np.asarray(self._workload.rows(output))
        different = len(np.unique(found))
        return Disturbance(
            workload=self._workload.name,
            kind=kind,
            ended=ended,
            resumes=resumes,
            lost=self._workload.expected - different,
            doubled=len(found) - different,
            same_bytes=self._workload.digest(output) == self._digest,
            orphans=sum(".tmp-" in path.name for path in output.rglob("*")),
        )


def disturb_often(name: str, kills: int, seed: int, folder: Path) -> list[Disturbance]:
    """Spread the disturbances evenly over the kinds of a workload, at random times."""
    chance = random.Random(f"{name} {seed}")
    suite = Suite(WORKLOADS[name], folder / "inputs", folder / name)
    kinds = suite.kinds()
    chance.shuffle(kinds)
    done = []
    for turn in range(kills):
        done.append(suite.disturb(kinds[turn % len(kinds)], chance))
        print(asdict(done[-1]), flush=True)
    return done


def summary(done: list[Disturbance], seed: int) -> dict[str, Any]:
    """What stands in the results."""
    return {
        "what": "disturbed runs, given again until they end well, against an undisturbed one",
        "seed": seed,
        "disturbances": len(done),
        "unsound": sum(not d.sound for d in done),
        "rows_lost": sum(d.lost for d in done),
        "rows_doubled": sum(d.doubled for d in done),
        "different_bytes": sum(not d.same_bytes for d in done),
        "orphans": sum(d.orphans for d in done),
        "hung": sum(d.ended == fault_kinds.HUNG for d in done),
        "table": [asdict(d) for d in done],
    }


def main() -> None:
    """Disturb, and write a table for each workload as soon as it is through."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workloads", nargs="*", default=[*WORKLOADS], choices=[*WORKLOADS])
    asked = parser.parse_args()
    each, more = divmod(asked.kills, len(asked.workloads))
    with tempfile.TemporaryDirectory(prefix="ames-ray-faults-") as folder:
        for number, name in enumerate(asked.workloads):
            done = disturb_often(name, each + (number < more), asked.seed, Path(folder))
            save("faults", name, summary(done, asked.seed))


if __name__ == "__main__":
    main()
