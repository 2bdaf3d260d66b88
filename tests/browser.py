"""Headless Chromium with one page, driven through its DevTools protocol."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_START_SECS = 60
_WAIT_SECS = 20


class Tab:
    """A page that is open."""

    def __init__(self, address: str):
        self._socket = websocket.create_connection(address, timeout=_WAIT_SECS, suppress_origin=True)
        self._number = 0

    def send(self, method: str, **parameters: Any) -> Any:
        """Return the result of a method of the protocol."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv())).get("id") != self._number:
            pass
        return answer["result"]

    def evaluate(self, script: str) -> Any:
        """Return the value of JavaScript, of a promise when it is kept."""
        done = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Return the value of JavaScript when it is true."""
        deadline = time.monotonic() + _WAIT_SECS
        while not (value := self.evaluate(script)):
            assert time.monotonic() < deadline, script
            time.sleep(0.02)
        return value

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file, as users do in the dialog of an input."""
        script = f"document.querySelector({json.dumps(selector)})"
        found = self.send("Runtime.evaluate", expression=script)["result"]["objectId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], objectId=found)


@contextlib.contextmanager
def open_page(url: str, folder: Path) -> Iterator[Tab]:
    """Open a page in a browser of its own, whose files are in `folder`."""
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [CHROMIUM, *options, f"--user-data-dir={folder}", url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port, deadline = folder / "DevToolsActivePort", time.monotonic() + _START_SECS
        while not (port.exists() and port.read_text().count("\n")):
            assert process.poll() is None, "Chromium did not start"
            assert time.monotonic() < deadline, "Chromium did not start in time"
            time.sleep(0.05)
        address = f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json/list"
        pages: list[dict[str, str]] = []
        while not pages:
            assert time.monotonic() < deadline, "Chromium did not open the page in time"
            with urllib.request.urlopen(address, timeout=_WAIT_SECS) as answer:
                pages = [each for each in json.load(answer) if each["type"] == "page"]
        yield Tab(pages[0]["webSocketDebuggerUrl"])
    finally:
        process.terminate()
        process.wait()
