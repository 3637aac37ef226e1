"""A certificate on the page of a report: every figure of the file is there, and a picture of each curve."""

from __future__ import annotations

import re

import pytest

from edgehar.errors import MismatchError
from edgehar.results import page
from edgehar.results.certificate import Unknown
from edgehar.results.robustness_plots import robustness_plot
from tests import runs
from tests.linear import write_artifact
from tests.results.test_certificate import certificate

pytest.importorskip("jinja2")


def test_strengths_of_two_signs_stand_around_the_undisturbed_signal():
    ticks = re.findall(r'class="tick"[^>]*middle">([^<]*)<', robustness_plot(certificate(), "activity"))
    assert ticks == ["\u2013", "10", "20", "30", "-5", "\u2013", "5"]


def test_choices_without_an_order_are_no_curve():
    whole = certificate()
    swap = whole.of("activity", "rotation")[0].__class__(**dict(vars(whole.of("activity", "rotation")[0]),
                                                                disturbance="axis-swap", strength=None))
    drawn = robustness_plot(certificate(rows={"activity": (*whole.rows["activity"], swap)}), "activity")
    assert "axis-swap" not in drawn and drawn.count("<polyline") == 2


def test_the_page_shows_the_certificate_beside_an_artifact(tmp_path):
    artifact = write_artifact(tmp_path / "linear")
    assert "Robustness" not in page.render([runs.make()], [artifact])
    unknown = Unknown("<gym>", ("rowing",), 40, 2, (0.71, 0.6, 0.8), (0.83, 0.7, 0.9))
    found = certificate(artifact_sha256=artifact.sha256, unknown={"activity": unknown}, left_out={"clipping": "no acc"})
    found.write(artifact.folder / "certificate.json")
    html = page.render([runs.make()], [artifact])
    assert "Robustness: student, activity" in html and "SYNTHETIC DATA" in html
    for told in ("30 degrees", "0.600", "-0.300", "&lt;gym&gt;", "0.71", "in 83 % of pairs", "clipping, for no acc"):
        assert told in html, told
    assert "<gym>" not in html


def test_one_of_another_artifact_is_not_shown(tmp_path):
    artifact = write_artifact(tmp_path / "linear")
    certificate().write(artifact.folder / "certificate.json")
    with pytest.raises(MismatchError, match="speaks of another artifact"):
        page.render([runs.make()], [artifact])
