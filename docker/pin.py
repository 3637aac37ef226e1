"""Exact versions with the hashes of all their wheels: made once, by whoever changes a version, and chosen from by each
installation.

    python docker/pin.py                         add hashes to pins that have none, and write again which extras need
                                                 which: needs pip 22.2 and the index, takes a minute or two
    python docker/pin.py all                     write all hashes again; takes a quarter of an hour
    python docker/pin.py select EXTRAS FILE...   print the pins that edgehar[EXTRAS] needs, or of only:NAME, for pip
                                                 --require-hashes; any Python from 3.8 does

To change a version: write its line, ``name==version`` and nothing more, and run the first. Hashes are of the
wheels for Linux on x86-64 and ARM, of each C library from 2.17 on that a wheel was made for, as pip reports them; of
pycuda, which has no wheels, of its source. Of torch for x86-64 only the build for the CPU alone (2.13.0+cpu) is taken:
pip must be able to find it, and would prefer the one for CUDA, with its gigabytes, if that had a hash here too.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Set

HERE = Path(__file__).resolve().parent
FILES = {"constraints-build.txt": "3.8", "constraints-py38.txt": "3.8", "constraints-jetson.txt": "3.8",
         "constraints-py311.txt": "3.11"}
ALWAYS = "base"  # the use that needs no extra
MACHINES = ("x86_64", "aarch64")
LIBRARIES = (31, 17, 28, 36)  # minor versions of glibc 2, at most which a wheel is for; JetPack 5 has 31
SOURCES = ("pycuda",)
ANY = "-none-any.whl"  # a wheel for all machines
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Pin(NamedTuple):
    """hashes: SHA-256, 64 hex digits each. uses: extras of edgehar that need it."""

    name: str
    version: str
    hashes: Sequence[str] = ()
    uses: Sequence[str] = ()

    def __str__(self) -> str:
        lines = ["%s==%s" % (self.name, self.version), *("    --hash=sha256:%s" % each for each in self.hashes)]
        return " \\\n".join(lines) + ("\n    # for %s" % " ".join(self.uses) if self.uses else "")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read(path: Path) -> List[Pin]:
    """The pins in a file, in order."""
    pins: List[Pin] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        pin, found = PIN.match(text), HASH.match(text)
        if pin and not text.startswith("#"):
            pins.append(Pin(plain(pin.group(1)), pin.group(2)))
        elif found:
            pins[-1] = pins[-1]._replace(hashes=(*pins[-1].hashes, found.group(1)))
        elif text.startswith("# for ") and line[:1] == " ":
            pins[-1] = pins[-1]._replace(uses=tuple(text.split()[2:]))
    return pins


def select(extras: Sequence[str], paths: Iterable[Path]) -> Iterator[Pin]:
    """The pins that edgehar needs with `extras`, or of packages that are named by "only:NAME"."""
    wanted, named = {ALWAYS, *extras}, {each[5:] for each in extras if each.startswith("only:")}
    for pin in (pin for path in paths for pin in read(path)):
        if not pin.hashes:
            sys.exit("docker/pin.py: %s==%s has no hashes; run: python docker/pin.py" % (pin.name, pin.version))
        if pin.name in named or (not named and (not pin.uses or wanted & set(pin.uses))):
            yield pin


# ------------------------------------------------------------------ from the index


def reported(requirements: Sequence[str], *options: str) -> List[Dict[str, Any]]:
    """What pip would install of these alone: facts of each, and where it is from; of those that it finds."""
    if not requirements:
        return []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--dry-run", "--no-deps",
             "--ignore-installed", "--target", folder, "--report", str(report), *options, *requirements],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True)
        if done.returncode:
            if len(requirements) == 1:
                return []
            half = len(requirements) // 2  # one has no such wheel: which?
            return reported(requirements[:half], *options) + reported(requirements[half:], *options)
        return list(json.loads(report.read_text(encoding="utf-8"))["install"])


def looks(version: str) -> Iterator[List[str]]:
    """Options of pip for each kind of machine that a wheel may be for."""
    for machine in MACHINES:
        for library in LIBRARIES:
            platforms = ["manylinux_2_%d_%s" % (minor, machine) for minor in range(library, 16, -1)]
            platforms += ["manylinux2014_" + machine, "manylinux2010_" + machine, "manylinux1_" + machine]
            yield ["--only-binary=:all:", "--implementation", "cp", "--python-version", version,
                   *("--platform=" + platform for platform in platforms)]


def found(pins: Sequence[Pin], version: str) -> List[Dict[str, Any]]:
    """What pip reports of the pins: on all machines of those without hashes, on one of the others."""
    new = {pin.name for pin in pins if not pin.hashes}
    sources = ["%s==%s" % (pin.name, pin.version) for pin in pins if pin.name in SOURCES]
    wheels = ["%s==%s" % (pin.name, pin.version) for pin in pins if pin.name not in SOURCES]
    items: List[Dict[str, Any]] = []
    for options in looks(version):
        items += reported(wheels, *options)
        anywhere = {plain(item["metadata"]["name"]) for item in items if item["download_info"]["url"].endswith(ANY)}
        wheels = [each for each in wheels if each.split("==")[0] in new - anywhere]
    if sources:
        items += reported(sources, "--no-binary", ",".join(SOURCES))
    return items


def needs(name: str, facts: Dict[str, Any], version: str, extra: str = "") -> Set[str]:
    """What a package asks for on that Python on Linux, on any machine."""
    from pip._vendor.packaging.requirements import Requirement

    wanted = set()
    for line in facts.get("requires_dist", ()):
        asked = Requirement(line)
        settings = {"python_version": version, "python_full_version": version + ".10", "sys_platform": "linux",
                    "platform_system": "Linux", "os_name": "posix", "implementation_name": "cpython",
                    "platform_python_implementation": "CPython", "extra": extra}
        if asked.marker is None or any(asked.marker.evaluate(dict(settings, platform_machine=machine))
                                       for machine in MACHINES):
            wanted.add(plain(asked.name))
    return wanted - {name}


def uses_of(items: Sequence[Dict[str, Any]], version: str) -> Dict[str, Set[str]]:
    """{package: extras of edgehar that need it, by whatever way}."""
    import tomllib

    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    facts = {plain(item["metadata"]["name"]): item["metadata"] for item in items}
    asked = {ALWAYS: project["dependencies"], **project["optional-dependencies"]}
    uses: Dict[str, Set[str]] = {}
    for extra, lines in asked.items():
        waiting, seen = list(needs("edgehar", {"requires_dist": lines}, version)), set()
        while waiting:
            name = waiting.pop()
            if name in facts and name not in seen:
                seen.add(name)
                waiting.extend(needs(name, facts[name], version))
        for name in seen:
            uses.setdefault(name, set()).add(extra)
    return uses


def write(path: Path, pins: Sequence[Pin]) -> None:
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    path.write_text("\n".join([*head, *map(str, pins)]) + "\n", encoding="utf-8")


def renew(everything: bool = False) -> None:
    """All files again; those for one Python together, for what a package of one needs may lie in another."""
    for version in sorted(set(FILES.values())):
        print("looking for wheels for Python %s" % version, flush=True)
        pins = {name: [pin._replace(hashes=() if everything else pin.hashes) for pin in read(HERE / name)]
                for name, of in FILES.items() if of == version}
        items = found([pin for each in pins.values() for pin in each], version)
        hashes = {pin.name: set(pin.hashes) for each in pins.values() for pin in each if pin.hashes}
        for item in items:
            name = plain(item["metadata"]["name"])
            hashes.setdefault(name, set()).add(item["download_info"]["archive_info"]["hashes"]["sha256"])
        uses = uses_of(items, version)
        for name, each in pins.items():
            lacking = [pin.name for pin in each if pin.name not in hashes]
            if lacking:
                sys.exit("docker/pin.py: the index has no %s of the version in %s" % (", ".join(lacking), name))
            build = name == "constraints-build.txt"
            write(HERE / name, [pin._replace(hashes=sorted(hashes[pin.name]), uses=() if build else sorted(
                uses.get(pin.name, pin.uses))) for pin in each])
            print("%s: %d pins, %d hashes" % (name, len(each), sum(len(hashes[pin.name]) for pin in each)))


def main(words: Sequence[str]) -> None:
    if not words or words == ["all"]:
        renew(everything=bool(words))
    elif words[0] == "select" and len(words) > 2:
        print("\n".join(map(str, select(words[1].split(","), map(Path, words[2:])))))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
