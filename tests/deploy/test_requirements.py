"""What a device asks of a bundle's certificate before it installs it."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("cryptography")

from edgehar.deploy.packing import StreamSettings, pack
from edgehar.deploy.requirements import require_certified
from edgehar.errors import MismatchError
from edgehar.results.limits import Limits
from tests.linear import write_artifact
from tests.results.test_certificate import certificate

LIMITS = Limits.from_table({"rotation": {"up_to": 20, "max_drop": 0.15}}, "robust.toml")


@pytest.fixture
def artifact(tmp_path):
    return write_artifact(tmp_path / "linear")


def bundle(artifact, **changes):
    """Packed with a certificate beside its manifest, of this artifact unless changed."""
    changes.setdefault("artifact_sha256", artifact.sha256)
    certificate(**changes).write(artifact.folder / "certificate.json")
    return pack(artifact, "1.0.0", StreamSettings(5))


def test_a_certificate_beside_the_manifest_travels_and_counts(artifact):
    packed = bundle(artifact)
    assert "certificate.json" in packed.members
    assert require_certified(packed, LIMITS, "fp32") == []


def test_another_precision_than_was_measured_is_told(artifact):
    assert require_certified(bundle(artifact), LIMITS, "int8") == [
        "the certificate of linear 1.0.0 was measured in fp32, and this engine is int8."]


def test_a_bundle_without_one_is_refused(artifact):
    packed = pack(artifact, "1.0.0", StreamSettings(5))
    with pytest.raises(MismatchError, match="linear 1.0.0 is refused: it carries no certificate"):
        require_certified(packed, LIMITS, "fp32")


def test_limits_that_are_not_kept_refuse_it(artifact):
    strict = Limits.from_table({"rotation": {"max_drop": 0.05}}, "robust.toml")
    with pytest.raises(MismatchError, match="refused, and what was current stays so: drop of rotation 20 degrees"):
        require_certified(bundle(artifact), strict, "fp32")


def test_one_of_another_artifact_or_changed_is_refused(artifact):
    packed, other = bundle(artifact), bundle(artifact).members
    swapped = dict(other, **{"certificate.json": certificate().write(
        artifact.folder / "other.json").read_bytes()})
    with pytest.raises(MismatchError, match="speaks of another artifact"):
        require_certified(replace(packed, members=swapped), LIMITS, "fp32")
    edited = dict(other, **{"certificate.json": other["certificate.json"].replace(b'"walks"', b'"talks"')})
    with pytest.raises(MismatchError, match="was changed after it was measured"):
        require_certified(replace(packed, members=edited), LIMITS, "fp32")


def test_one_of_another_kind_is_refused(artifact):
    other = dict(bundle(artifact).members, **{"certificate.json": b'{"radius": 0.1}'})
    with pytest.raises(MismatchError, match="is refused: .* is no certificate that `edgehar robust` writes"):
        require_certified(replace(bundle(artifact), members=other), LIMITS, "fp32")
