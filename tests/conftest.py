"""Fixtures that several test files share."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from edgehar.plugins import of_environment
from edgehar.registry import add_plugin

os.environ.setdefault("OMP_NUM_THREADS", "1")  # waiting threads of torch starve everything else on a small machine

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

for plugin in of_environment():  # the contracts hold for plug-ins that EDGEHAR_PLUGINS names, too
    add_plugin(plugin)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
# These follow the pace of other programs, which nobody can hold: the service of jetson-stats, an sshd, a broker and
# a service that are killed and must be back within seconds. A busy machine may starve one: it is tried once more, and
# pytest's summary says so (RERUN). All others wait for events or bring a clock of their own.
BY_THE_CLOCK = ("test_jtop", "test_over_ssh", "test_soak")
ARCHIVES = ("UCI-HAR", "WISDM-2019", "OpenPack", "MHEALTH-partial", "HAPT", "DSADS")


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if item.path.stem in BY_THE_CLOCK:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_user(tmp_path_factory) -> None:
    """Recordings are cached for the tests alone; commands that they start inherit the place."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def corpora() -> Path:
    """A data root with the real archives; skips where there is none."""
    if os.environ.get("EDGEHAR_DATA"):
        return Path(os.environ["EDGEHAR_DATA"])
    if not (SHARED / "unpack.sh").is_file():
        pytest.skip("no real corpus: EDGEHAR_DATA is not set and ../shared/data is absent")
    folder = Path(tempfile.gettempdir()) / "-".join(("edgehar-test-corpora", *ARCHIVES))  # a new list, a new folder
    if not folder.is_dir():
        _unpack(folder)
    return folder


def _unpack(folder: Path) -> None:
    """Unpack under another name first, so that a killed or parallel test run never leaves half a folder."""
    temporary = tempfile.mkdtemp(prefix=folder.name + ".", dir=str(folder.parent))
    try:
        subprocess.run(["bash", str(SHARED / "unpack.sh"), temporary, *ARCHIVES], check=True, stdout=subprocess.DEVNULL)
        os.replace(temporary, str(folder))
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture
def board(monkeypatch, tmp_path_factory):
    """A stand-in for a Xavier with TensorRT 8.5.2, as strict as the real one; see tests/strict."""
    from tests.strict import standing_in

    with standing_in(monkeypatch, tmp_path_factory.mktemp("board")) as board:
        yield board
