"""This checkout against another commit: what can be run in both is compared, and what cannot is said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import against_tag


def test_a_clone_without_a_tag_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(against_tag, "newest_tag", lambda: None)
    assert against_tag.main([]) == 0
    assert "no tag to be compared with" in capsys.readouterr().out


def test_a_commit_is_compared_and_its_checkout_removed(monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture) -> None:
    if subprocess.run(["git", "-C", str(against_tag.ROOT), "rev-parse", "HEAD"], capture_output=True).returncode:
        pytest.skip("not a clone")
    monkeypatch.setattr(against_tag, "COMMANDS", {"start-up": ["--version"], "unknown": ["no-such-command"]})
    listed = ["git", "-C", str(against_tag.ROOT), "worktree", "list"]
    before = subprocess.run(listed, capture_output=True).stdout
    assert against_tag.main(["HEAD", "--rounds", "2"]) == 0
    told = capsys.readouterr().out
    assert "ratio" in told and "the other cannot run it" in told
    assert subprocess.run(listed, capture_output=True).stdout == before
    assert against_tag.main(["no-such-commit"]) == 2


def test_the_commands_are_edgehar_s(tmp_path: Path) -> None:
    for name in ("start-up", "an engine verified"):
        assert against_tag.seconds_of(against_tag.COMMANDS[name], against_tag.ROOT, tmp_path)
