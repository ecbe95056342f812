"""A headless Chromium that tests drive by its own protocol, on a pipe: keys, downloads."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


class Browser:
    """One page of one browser; a context manager.

    Args:
        folder: for its profile, and for what the page downloads.
    """

    def __init__(self, folder: Path) -> None:
        ours_in, ours = os.pipe()
        theirs, theirs_out = os.pipe()
        words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--mute-audio"]
        words += ["--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}"]
        joined = f'exec "$@" 3<&{ours_in} 4>&{theirs_out} 2>/dev/null'  # where Chromium looks
        self._process = subprocess.Popen(
            ["bash", "-c", joined, "bash", *words],
            pass_fds=(ours_in, theirs_out),
            env=os.environ | {"HOME": str(folder)},
        )
        os.close(ours_in)
        os.close(theirs_out)
        self._to, self._from = os.fdopen(ours, "wb", 0), os.fdopen(theirs, "rb", 0)
        self._numbers, self._rest, self._session = itertools.count(1), b"", ""
        self._events: list[str] = []
        self.downloads = folder / "downloads"
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._to.close()
        self._from.close()

    def call(self, method: str, **params: object) -> Any:
        """A command of the DevTools protocol, and its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._to.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self._events.append(answer.get("method", ""))
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            block = self._from.read(1 << 16)
            assert block, "the browser has gone"
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def open(self, page: Path) -> None:
        """Open a file, or the same one again, and wait until it is there."""
        self._events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while "Page.loadEventFired" not in self._events:
            self._events.append(self._next().get("method", ""))

    def run(self, script: str) -> Any:
        """The value of an expression on the page; of a promise, what it comes to."""
        done = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys one after the other: "1", " ", "ArrowLeft"."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {}
            if key == "Enter":
                text = {"text": "\r"}
            codes = {"Enter": 13, "ArrowDown": 40}
            more = {"windowsVirtualKeyCode": codes[key]} if key in codes else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **more)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **more)

    def show(self, width: int, *, dark: bool) -> None:
        """Take another width and colours."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
