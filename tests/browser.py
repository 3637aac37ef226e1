"""A headless Chromium, driven through a pipe by its own protocol: no driver, no package, no network but the page's."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest

PATIENCE_S = 60.0
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe"]


def chromium() -> str:
    """Its path; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or pytest.skip("no chromium is installed")


class Browser:
    """One page. requests: addresses that it asked for; faults: what its console called an error."""

    def __init__(self, folder: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self._reads, self._writes, self._left = ours_in, ours_out, b""
        line = 'exec 3<&%d 4>&%d; exec "$@"' % (theirs_in, theirs_out)
        self._process = subprocess.Popen(
            ["bash", "-c", line, "bash", chromium(), *FLAGS, "--user-data-dir=%s" % (folder / "u"), "about:blank"],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._session = 0, ""
        self.requests: List[str] = []
        self.faults: List[str] = []
        pages = [each for each in self.ask("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        self._session = self.ask("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(domain + ".enable")

    def ask(self, method: str, **parameters: Any) -> Dict[str, Any]:
        """The result of one method of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode("utf-8") + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _next(self) -> Dict[str, Any]:
        until_s = time.monotonic() + PATIENCE_S
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._reads], [], [], max(0.0, until_s - time.monotonic()))
            assert ready, "the browser says nothing"
            piece = os.read(self._reads, 1 << 16)
            assert piece, "the browser has ended"
            self._left += piece
        first, _, self._left = self._left.partition(b"\0")
        return json.loads(first)

    def _note(self, event: Dict[str, Any]) -> None:
        method, facts = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(facts["exceptionDetails"]))
        elif method == "Log.entryAdded" and facts["entry"]["level"] == "error":
            self.faults.append(facts["entry"]["text"])

    def open(self, address: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show the page at an address on a screen of that size."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                 mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.ask("Page.navigate", url=address)

    def value(self, script: str) -> Any:
        """What an expression of JavaScript says in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until the expression is true."""
        until_s = time.monotonic() + PATIENCE_S
        while not self.value(script):
            assert time.monotonic() < until_s, "never true: %s\n%s" % (script, self.value("document.body.innerText"))
            time.sleep(0.05)

    def press(self, key: str, text: str = "") -> None:
        """One key, such as "Tab" or "Enter"."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text if kind == "keyDown" else "",
                     windowsVirtualKeyCode={"Tab": 9, "Enter": 13, " ": 32}.get(key, 0))

    def picture(self, path: Path, whole: bool = False) -> None:
        """A PNG of what is seen, or of the whole page."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        os.close(self._reads)
        os.close(self._writes)
