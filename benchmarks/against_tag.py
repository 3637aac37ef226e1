"""Whether edgehar itself has become slower: this checkout against another commit, command by command, by turns.

    python benchmarks/against_tag.py [COMMIT] [--rounds N] [--json]

COMMIT: the newest tag of this clone unless given. Both checkouts run by the same Python and
packages, as processes of their own: start-up, windows decided (`run`), an engine built and
verified, and an epoch of training, where torch is. A round runs each command once in
both; who begins changes. Prints ratios of this checkout to COMMIT, with intervals over
rounds, and ends with 0 whatever they say; 2 where there is no such commit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Dict, List, NamedTuple, Optional, Sequence

from edgehar.results.versus import EFFECT, judged, ratio_of_rounds

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "start-up": ["--version"],
    "windows decided": ["run", "engines/wisdm-watch-s", "--source", "sample", "--quiet", "--json"],
    "an engine verified": ["verify", "engines/wisdm-watch-s", "--backend", "sim"],
    "epoch of training": ["train", "--data", "synthetic:people=6,minutes=0.5", "--model", "mobilenet:size=S",
                          "--epochs", "1", "--quiet", "-o", "{out}"]}
START = "import sys; from edgehar.cli import main; sys.exit(main())"


class Told(NamedTuple):
    """One command. ratio: of this checkout to the other, None where one of them cannot run it."""

    command: str
    here_s: float
    there_s: float
    ratio: Optional[List[float]]
    verdict: str


def newest_tag() -> Optional[str]:
    """The newest tag that the clone has; None without one."""
    found = subprocess.run(["git", "-C", str(ROOT), "tag", "--sort=-creatordate"], capture_output=True, text=True)
    return next(iter(found.stdout.split()), None)


def seconds_of(words: Sequence[str], checkout: Path, out: Path) -> Optional[float]:
    """How long edgehar of `checkout` takes; None where it ends with another code than 0."""
    environment = dict(os.environ, PYTHONPATH=str(checkout), OMP_NUM_THREADS="1", XDG_CACHE_HOME=str(out / "cache"))
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", START, *(word.format(out=out / str(begun)) for word in words)],
                          cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun if done.returncode == 0 else None


def compare(there: Path, rounds: int) -> List[Told]:
    """Every command in both checkouts, by turns."""
    with TemporaryDirectory() as folder:
        return [_compared(name, words, there, rounds, Path(folder)) for name, words in COMMANDS.items()]


def _compared(name: str, words: Sequence[str], there: Path, rounds: int, out: Path) -> Told:
    taken: Dict[Path, List[float]] = {ROOT: [], there: []}
    for number in range(rounds + 1):
        for checkout in (ROOT, there) if number % 2 else (there, ROOT):
            seconds = seconds_of(words, checkout, out)
            if seconds is None:
                return Told(name, 0.0, 0.0, None, "%s cannot run it" % ("the other" if checkout == there else "this"))
            taken[checkout] += [seconds] if number else []  # the first round fills caches
    ratio = ratio_of_rounds(taken[ROOT], taken[there])
    return Told(name, sorted(taken[ROOT])[rounds // 2], sorted(taken[there])[rounds // 2], list(ratio),
                judged(ratio, EFFECT))


def show(found: Sequence[Told], commit: str) -> None:
    """As lines."""
    print("this checkout against %s, by turns" % commit)
    for each in found:
        told = "ratio %.3f [%.3f, %.3f], %s" % (*each.ratio, each.verdict) if each.ratio else each.verdict
        print("  %-18s %6.2f s  %6.2f s   %s" % (each.command, each.here_s, each.there_s, told))


def main(words: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("commit", nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    commit = asked.commit or newest_tag()
    if commit is None:
        print("this clone has no tag to be compared with; name a commit: python benchmarks/against_tag.py COMMIT")
        return 0
    with TemporaryDirectory() as folder:
        there = Path(folder) / "there"
        made = subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--detach", str(there), commit],
                              capture_output=True, text=True)
        if made.returncode:
            print("there is no commit %s in this clone; fetch it: git fetch --tags" % commit, file=sys.stderr)
            return 2
        try:
            found = compare(there, asked.rounds)
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(there)], check=False)
    print(json.dumps([each._asdict() for each in found], indent=2)) if asked.json else show(found, commit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
