"""Processes that train the cells of a study side by side."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import Iterator, Sequence

import torch

from edgehar import machine
from edgehar.errors import MissingError
from edgehar.processes import end_with
from edgehar.registry import add_plugin, added_plugins


@contextmanager
def threads(jobs: int) -> Iterator[None]:
    """Let torch compute with this process's share of the cores meanwhile, unless OMP_NUM_THREADS says otherwise."""
    before = torch.get_num_threads()
    _share_cores(jobs)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _share_cores(jobs: int) -> None:
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(max(1, machine.usable_cores() // jobs))


@contextmanager
def workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; where the block raises, they are killed: the pool would wait until they have done all."""
    others = active_children()
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin_worker,
                                 initargs=(added_plugins(), jobs)) as pool:
            try:
                yield pool
            except BaseException:
                for worker in active_children():
                    if worker not in others:
                        worker.kill()
                raise
    except BrokenProcessPool as error:
        raise MissingError("a process of the study was killed, most likely for lack of memory; run the same line with "
                           "fewer --jobs, and it continues where it stopped.") from error


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back for a moment; processes that begin in it never hear one: it is their parent's to end them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(plugins: Sequence[str], jobs: int) -> None:
    parent = parent_process()
    if parent is not None:  # else nobody began this process
        end_with(parent.sentinel)
    _share_cores(jobs)
    for plugin in plugins:
        add_plugin(plugin)
