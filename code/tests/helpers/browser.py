"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EXECUTABLE = next(filter(None, map(shutil.which, NAMES)), None)
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--remote-debugging-port=0", "--remote-allow-origins=*"),
)


class Browser:
    """One page.

    Args:
        profile: folder for what the browser keeps.

    Attributes:
        problems: exceptions, console errors, broken policies and requests that were seen so far.
    """

    def __init__(self, profile: Path) -> None:
        assert EXECUTABLE
        profile.mkdir(parents=True, exist_ok=True)
        (profile / "DevToolsActivePort").unlink(missing_ok=True)
        self.problems: list[str] = []
        with open(profile / "log", "wb") as log:
            self._process = subprocess.Popen(
                [EXECUTABLE, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(profile)},
            )
        self._count = 0
        try:
            port = self._wait_for(profile / "DevToolsActivePort").splitlines()[0]
            self._socket = websocket.create_connection(self._page_address(port), timeout=30)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    @staticmethod
    def _wait_for(file: Path) -> str:
        for _ in range(300):
            if file.is_file() and file.read_text().count("\n"):
                return file.read_text()
            time.sleep(0.1)
        raise TimeoutError(f"the browser did not start: {file.with_name('log').read_text()}")

    @staticmethod
    def _page_address(port: str) -> str:
        import urllib.request

        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            return next(t for t in json.load(answer) if t["type"] == "page")["webSocketDebuggerUrl"]

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": arguments}))
        while True:
            message = json.loads(self._socket.recv())
            self._note(message)
            if message.get("id") == self._count:
                assert "error" not in message, message["error"]
                return message["result"]

    def _note(self, message: dict[str, Any]) -> None:
        method, data = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(data["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and data["entry"]["level"] == "error":
            self.problems.append(data["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and data["type"] in ("error", "assert"):
            self.problems.append(json.dumps(data["args"])[:500])
        elif method == "Network.requestWillBeSent":
            url = data["request"]["url"]
            if not url.startswith(("file:", "data:", "about:")):
                self.problems.append(f"asks for {url}")

    def open(self, page: Path, width: int, height: int, fragment: str = "") -> None:
        """Load a local page in a window of that many CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=page.resolve().as_uri() + fragment)
        for _ in range(300):
            if self.run("document.readyState === 'complete' && location.protocol === 'file:'"):
                return
            time.sleep(0.05)
        raise TimeoutError(f"{page} did not load")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def click(self, x: float, y: float) -> None:
        """The left button at a place of the window, CSS pixels."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )  # fmt: skip

    def press(self, key: str, code: str = "", text: str = "") -> None:
        """A key, for what has the focus."""
        for kind in ("keyDown", "keyUp"):
            values = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key, **values)

    def next_frame(self) -> None:
        """Wait until what was asked for is drawn."""
        self.run("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(1))))")

    def picture(self, path: Path, whole_page: bool = False) -> None:
        """The window, or the whole page, as PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole_page)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """End the browser."""
        with suppress(websocket.WebSocketException, OSError):
            self.call("Browser.close")
        self._socket.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
