"""The live page of `edgehar serve`: its option, and what it is made of for one wearer or many."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Mapping, NamedTuple, Optional, Sequence

import click

from edgehar.cli._options import Decorator

if TYPE_CHECKING:
    import numpy as np

    from edgehar.artifact.manifest import Manifest
    from edgehar.deploy.health import Health
    from edgehar.deploy.live import LiveRow, LastMinutes
    from edgehar.deploy.spec import Loaded
    from edgehar.stream.stream import Stream

PORT = 9747


class LiveAt(NamedTuple):
    """Where the page is shown, and the file with the token that it takes to see it; none where empty."""

    host: str
    port: int
    token_file: str = ""


class LivePlace(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has none
    """host:port, and a file for a token."""

    name = "HOST:PORT,token=FILE"

    def convert(self, value: Any, param: Any, context: Any) -> Optional[LiveAt]:
        """A `LiveAt`."""
        from edgehar.deploy.live_pages import is_loopback

        if value is None or isinstance(value, LiveAt):
            return value
        address, _, more = value.partition(",")
        host, _, port = address.rpartition(":")
        key, _, file = more.partition("=")
        if not host or not port.isdigit() or int(port) > 65535 or (more and (key != "token" or not file)):
            self.fail("'%s' is not HOST:PORT or HOST:PORT,token=FILE, such as 127.0.0.1:%d." % (value, PORT), param,
                      context)
        place = LiveAt(host.strip("[]"), int(port), file)
        if not file and not is_loopback(place.host):
            self.fail("%s can be reached from other machines and the page shows what people do; add a file for a "
                      "token: %s,token=FILE." % (place.host, address), param, context)
        return place


def live_option() -> Decorator:
    """``--live``, with or without a place."""
    return click.option(
        "--live", type=LivePlace(), is_flag=False, flag_value="127.0.0.1:%d" % PORT,
        metavar="[HOST:PORT[,token=FILE]]",
        help="Show a live page, at 127.0.0.1:%d unless told otherwise. A HOST that other machines reach needs a token, "
        "which is made in FILE where it is not there." % PORT)


def timelines(place: Optional[LiveAt], tasks: Mapping[str, Sequence[str]], hop_s: float) -> List[LastMinutes]:
    """The sink that remembers the last minutes for the page; none where there is no page."""
    from edgehar.deploy.live import LastMinutes

    return [LastMinutes(next(iter(tasks)), hop_s)] if place else []


@contextmanager
def page_of_one(place: Optional[LiveAt], timeline: List[LastMinutes], loaded: Loaded, stream: Callable[[], Stream],
                health: Health, marks: str) -> Iterator[None]:
    """Show the page of a service with one wearer while the block lasts. stream: what decides now."""
    from edgehar.deploy.live import only_wearer

    def samples(wearer: str, placement: str) -> np.ndarray:
        return stream().snapshot().samples

    seen = only_wearer(timeline[0], lambda: health.status) if timeline else list
    with page(place, timeline, loaded.engine.manifest, loaded.stream.hop, seen, samples, health.to_json, marks):
        yield


@contextmanager
def page(place: Optional[LiveAt], timeline: List[LastMinutes], manifest: Manifest, hop: int,
         seen: Callable[[], List[LiveRow]], samples: Callable[[str, str], np.ndarray], health: Callable[[], Any],
         marks: str) -> Iterator[None]:
    """Show the page while the block lasts, and tell where; nothing without a place.

    seen, samples, health: as for `live.Subject`; samples gives (n, C) float32. hop: in samples.
    """
    from edgehar.deploy.live import Live, Subject
    from edgehar.deploy.live_pages import LivePages, token_in

    if place is None:
        yield
        return
    subject = Subject(manifest.name, manifest.signal, manifest.tasks, seen, samples, health, marks.strip(" []"))
    token = token_in(place.token_file) if place.token_file else ""
    with LivePages(Live(subject, timeline[0], hop / manifest.signal.rate_hz), place.host, place.port, token) as pages:
        click.echo("live: http://%s:%d%s" % ("[%s]" % place.host if ":" in place.host else place.host, pages.port,
                                             ", with the token in %s" % place.token_file if token else ""), err=True)
        yield
