"""Command lines of edgehar in processes of their own that need not import everything anew."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess
from typing import Mapping, Optional, Sequence

from edgehar.cli import execute

LONGEST_S = 600


def run_forked(words: Sequence[str], folder: Path, variables: Optional[Mapping[str, str]] = None,
               together: bool = False, fed: str = "") -> CompletedProcess:
    """`edgehar WORDS` in `folder`, with these variables added, and its outputs as text; together: both in `stdout`.

    fed: comes through a pipe to its standard input. What the tests have imported is there already; all else, the
    process changes for itself alone.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        heard, told = os.pipe()
        child = os.fork()
        if not child:
            os.close(told)
            os._exit(_ended(words, folder, variables or {}, heard, out.fileno(), (out if together else err).fileno()))
        os.close(heard)
        _feed(told, fed)
        status = os.waitpid(child, 0)[1]
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return CompletedProcess(["edgehar", *words], code, *texts)


def _feed(told: int, text: str) -> None:
    with suppress(BrokenPipeError), os.fdopen(told, "w", encoding="utf-8") as stream:
        stream.write(text)


def _ended(words: Sequence[str], folder: Path, variables: Mapping[str, str], heard: int, out: int, err: int) -> int:
    """The exit code of the line, in the process that is its own."""
    signal.alarm(LONGEST_S)  # whatever it waits for, the tests go on
    try:
        os.chdir(str(folder))
        os.environ.update(variables)
        for number, (name, descriptor) in enumerate((("stdin", heard), ("stdout", out), ("stderr", err))):
            os.dup2(descriptor, number)
            stream = os.fdopen(number, "wb" if number else "rb")
            setattr(sys, name, io.TextIOWrapper(stream, encoding="utf-8", line_buffering=True))
        sys.argv = ["edgehar", *words]
        try:
            code = execute(words)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(err, traceback.format_exc().encode("utf-8"))
        code = 1
    return code
