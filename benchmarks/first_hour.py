"""How long a newcomer takes: from a clone to a first decision, and from a folder of recordings to a student.

    python benchmarks/first_hour.py [--twice] [-o FILE]

Types what the pages show, in a fresh clone of this checkout: the first block of the README,
and then every line of docs/your-data.md on a folder of generated recordings. Keys are
counted as `KEYS_PER_S` a second, the description of the page among them; reading and
thinking are not. --twice: installs once before, uncounted, so that no download is measured.
Writes what was typed and the seconds of each line to benchmarks/figures/first-hour.json.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from edgehar import machine
from edgehar.files import write_json

ROOT = Path(__file__).resolve().parents[1]
KEYS_PER_S = 4.0
PEOPLE, SECONDS, RATE_HZ = ("anna", "ben", "cleo", "dora", "emil"), 60, 50
BLOCK = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
ENTER = "source .venv/bin/activate"


def first_block() -> List[str]:
    """What the README tells to type first."""
    return BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0][1].splitlines()


def own_corpus() -> List[Any]:
    """(language, text) of each block of the guide on data of one's own, in order."""
    return BLOCK.findall((ROOT / "docs" / "your-data.md").read_text(encoding="utf-8"))


def typed(words: str, clone: Path, before: str = "") -> Dict[str, Any]:
    """One line, typed and run in `clone`. Raises RuntimeError where it fails, with what it said."""
    begun = time.monotonic()
    done = subprocess.run(["bash", "-c", "%s\n%s" % (before, words)], cwd=clone, capture_output=True, text=True)
    took_s = time.monotonic() - begun
    if done.returncode:
        raise RuntimeError("%s ended with %d: %s" % (words, done.returncode, done.stderr[-2000:]))
    said = [line for line in done.stdout.splitlines() if line.strip()]
    return {"typed": words, "typing_s": round(len(words) / KEYS_PER_S, 1), "took_s": round(took_s, 1),
            "last_line": said[-1][:120] if said else ""}


def record(folder: Path) -> None:
    """Recordings as the guide has them: two activities of each person, whole milliseconds, in g; and a new one."""
    for seed, person in enumerate((*PEOPLE, "")):
        for label, swing in (("standing", 0.01), ("walking", 0.4)):
            draw, time_s = np.random.default_rng(seed), np.arange(RATE_HZ * SECONDS) / RATE_HZ
            wave = swing * np.sin(2 * np.pi * 1.9 * time_s)
            values = np.stack([wave, 0.5 * wave, 1 + wave], axis=1) + draw.normal(0, 0.02, (len(time_s), 3))
            path = folder / "recordings" / person / (label + ".csv") if person else folder / "new.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = ("%d,%.4f,%.4f,%.4f\n" % (1000 * at, *row) for at, row in zip(time_s, values))
            path.write_text("time_ms,ax,ay,az\n" + "".join(rows), encoding="utf-8")


def to_a_student(clone: Path) -> List[Dict[str, Any]]:
    """Every line of the guide; the description is written where the guide shows it."""
    record(clone)
    found = [typed("./deploy.sh install train", clone)]
    for language, text in own_corpus():
        if language == "toml" and not (clone / "runs").exists():
            (clone / "recordings" / "mine.toml").write_text(text, encoding="utf-8")
            found.append({"typed": "recordings/mine.toml, %d lines" % text.count("\n"), "took_s": 0.0,
                          "typing_s": round(len(text) / KEYS_PER_S, 1), "last_line": ""})
        found += [typed(line, clone, ENTER) for line in ("" if language else text).splitlines()]
    return found


def cloned(folder: Path) -> Path:
    """A fresh clone."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def main(words: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--twice", action="store_true", help="install once before, uncounted, so that caches are warm")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "figures" / "first-hour.json")
    asked = parser.parse_args(words)
    with TemporaryDirectory() as folder:
        if asked.twice:
            typed("./deploy.sh install train", cloned(Path(folder) / "before"))
        clone = cloned(Path(folder) / "edgehar")
        first = [typed(line, clone, "" if line.startswith("./deploy") else ENTER) for line in first_block()]
        student = to_a_student(clone)
    parts = {"first decision": first, "a student of one's own recordings": student}
    total_s = {name: round(sum(each["typing_s"] + each["took_s"] for each in lines), 1)
               for name, lines in parts.items()}
    write_json(asked.output, {"command": "python benchmarks/first_hour.py%s" % (" --twice" if asked.twice else ""),
                              "keys_per_s": KEYS_PER_S, "total_s": total_s, "lines": parts, "source": "measured",
                              "machine": machine.describe()})
    for name, seconds in total_s.items():
        print("%s: %.0f s" % (name, seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
