"""Kills runs: a run that resumes ends with the same results as an undisturbed one.

    python benchmarks/resume.py [--kills 20] [--kills-per-root 5] [--seed N] [--each-node] [--setbacks]

(`make accept-resume` does all of it.) Starts `mirante run digits`, kills it with its children (SIGKILL) at a
random moment, starts the same command again, and so on; then lets it end. Exits with 1 unless each root then
has the results of an undisturbed run: the same shards and weights to the byte, the same metrics, one pushed
version, no file more or less; and a further run executes nothing. The first kills are spread over all phases,
ingest and every node, the others over the length of a run.

--each-node kills under one root in every phase in turn, once the node's executor works. --setbacks fails
under one root in other ways: the disk is full at several nodes, the data are refused, the model is slow to
load, twice; files that these leave are not compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

# For the packages next to this folder, when this file is run as a script.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.disturbed import (
    PHASES,
    Outcome,
    Run,
    differences,
    find_executed,
    outcome,
    set_back_and_completed,
)
from pipeline.steps import node_ids, step_named

# A push takes a tenth of a second; what it makes below the root tells the moments in it.
PUSHER_MOMENTS = ("serving/.*.incomplete", "serving/[0-9]*")


@dataclasses.dataclass(frozen=True)
class Kill:
    """When to kill.

    Attributes:
        phase: One of `PHASES`.
        share: How much of the phase's usual time passes before, 0 .. 1.
        appears: Kill no sooner than a file of this pattern is below the root.
    """

    phase: str
    share: float = 0.0
    appears: str | None = None

    def __str__(self) -> str:
        return f"{self.phase}, {self.share:.0%} of its time" + (f", {self.appears}" if self.appears else "")


def killed_run(root: Path, temporary: Path, kill: Kill, usual: dict[str, float]) -> str | None:
    """Starts the run and kills it.

    Returns:
        The phase that was hit; None where the run had ended before.
    """
    run = Run(root, temporary)
    while not run.has_ended:
        run.follow(0.0005 if kill.appears else 0.02)
        since = run.entered.get(kill.phase)
        if since is None:
            continue
        due = time.monotonic() - since >= kill.share * usual[kill.phase]
        # This run may be quicker than the usual one: at the latest in the next phase.
        if run.phase != kill.phase or (due and (kill.appears is None or any(root.glob(kill.appears)))):
            break
    run.kill()
    return run.phase if run.phase in PHASES else None


def plan(count: int, usual: dict[str, float], chance: random.Random) -> list[Kill]:
    """Return this many kills: first one in each phase, then at random moments of a run."""
    each = [Kill(phase, chance.random()) for phase in PHASES[:-1]]
    each += [Kill("Pusher", appears=pattern) for pattern in PUSHER_MOMENTS]
    chance.shuffle(each)
    anywhere = chance.choices(list(usual), list(usual.values()), k=max(0, count - len(each)))
    return each[:count] + [Kill(phase, chance.random()) for phase in anywhere]


def plan_each() -> list[Kill]:
    """A kill in each phase, in their order; in a node half-way, once its executor works."""
    executed = [node for node in node_ids() if not step_named(node).is_resolver]
    return [
        Kill(phase, 0.5, f"{phase}/.system/executor_execution/*" if phase in executed else None)
        for phase in PHASES
    ]


def moment_of(kill: Kill) -> tuple[int, float, str]:
    """Sorts kills by when they come in a run."""
    return PHASES.index(kill.phase), kill.share, kill.appears or ""


def undisturbed_run(folder: Path) -> tuple[Outcome, dict[str, float]]:
    """Return the results of an undisturbed run, and the seconds of its phases."""
    root, temporary = _folders(folder)
    run = Run(root, temporary)
    result = run.result()
    return outcome(root, temporary, result), run.seconds()


def killed_and_completed(
    folder: Path, kills: list[Kill], undisturbed: Outcome, usual: dict[str, float]
) -> tuple[list[str | None], list[str]]:
    """Kills runs under one root, lets one end and looks at it.

    Returns:
        What each kill hit, and what is not as after an undisturbed run.
    """
    root, temporary = _folders(folder)
    hits = [killed_run(root, temporary, kill, usual) for kill in kills]
    result = Run(root, temporary).result()
    found = differences(undisturbed, outcome(root, temporary, result))
    return hits, found + find_executed(result, Run(root, temporary).result())


def _folders(folder: Path) -> tuple[Path, Path]:
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    return folder / "root", temporary


def main() -> int:
    """Kills and compares; prints what each kill hit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kills-per-root", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--each-node", action="store_true")
    parser.add_argument("--setbacks", action="store_true")
    options = parser.parse_args()
    print(f"resume: {options.kills} kills, seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    hit: Counter[str | None] = Counter()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="mirante-resume-") as folder:
        undisturbed, usual = undisturbed_run(Path(folder) / "undisturbed")
        print("resume: undisturbed: " + ", ".join(f"{phase} {secs:.1f} s" for phase, secs in usual.items()))
        kills = plan(options.kills, usual, chance)
        of_roots = [
            sorted(kills[first : first + options.kills_per_root], key=moment_of)
            for first in range(0, len(kills), options.kills_per_root)
        ]
        if options.each_node:
            of_roots.append(plan_each())
        for number, ordered in enumerate(of_roots):
            hits, found = killed_and_completed(Path(folder) / str(number), ordered, undisturbed, usual)
            hit.update(hits)
            failures += len(found)
            for kill, phase in zip(ordered, hits, strict=True):
                print(f"resume: root {number}: meant for {kill}: killed {phase or 'nothing, it had ended'}")
            for line in found or ["as undisturbed"]:
                print(f"resume: root {number}: {line}", flush=True)
        if options.setbacks:
            found = set_back_and_completed(Path(folder) / "setbacks", undisturbed)
            failures += len(found)
            print(f"resume: setbacks: {'; '.join(found) or 'as undisturbed'}", flush=True)
    print(f"resume: {sum(hit.values()) - hit[None]} kills: " + ", ".join(f"{p} {hit[p]}" for p in PHASES))
    return 1 if failures or hit[None] else 0


if __name__ == "__main__":
    sys.exit(main())
