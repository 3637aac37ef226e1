"""Keys, a small bundle, and archives as nobody should write them."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterable, List, Tuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgehar.artifact.manifest import Artifact
from edgehar.deploy.bundle import PLAIN_FILE, Bundle
from edgehar.deploy.packing import StreamSettings, pack
from tests.linear import write_artifact

KEY, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)) for seed in (1, 2))
TRUSTED = (KEY.public_key(),)
Member = Tuple[zipfile.ZipInfo, bytes]


def linear_bundle(folder: Path, version: str = "1.0.0", hop: int = 5, **options: Any) -> Bundle:
    """A signed bundle of ``tests.linear``, whose artifact is made in `folder` where it is not there yet."""
    artifact = Artifact.load(folder) if folder.is_dir() else write_artifact(folder)
    return pack(artifact, version, StreamSettings(hop), **options).signed(KEY)


def entry(name: str, mode: int = PLAIN_FILE, compressed: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    found.create_system, found.external_attr, found.compress_type = 3, mode, compressed
    return found


def forged(members: Iterable[Member]) -> bytes:
    """An archive of just these members, however odd; its checksums are right."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # of names that stand twice
        for info, content in members:
            archive.writestr(info, content)
    return stream.getvalue()


def members_of(bundle: Bundle, **replaced: bytes) -> List[Member]:
    """The bundle's members as it would write them; those named by their last part, without the dot, replaced."""
    return [(entry(name), replaced.get(Path(name).name.replace(".", "_"), content))
            for name, content in bundle.files().items()]


def restated(bundle: Bundle, **facts: Any) -> bytes:
    """The statement with other facts."""
    value: Dict[str, Any] = dict(json.loads(bundle.statement.decode("utf-8")), **facts)
    return json.dumps(value).encode("utf-8")
