"""A server of a language model that speaks OpenAI's API: what it is, and one answer after another.

vLLM, llama.cpp and Ollama are told apart by what they say of themselves. A request that fails is
tried again; what cannot last ends the run, and what one prompt alone causes is its record's fault.
"""

from __future__ import annotations

import ipaddress
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, TimeoutError

from lanser_cli import console
from lanser_cli.digests import string64
from lanser_cli.entailment.binding import bound
from lanser_cli.errors import LanserError, RecordError, UsageError
from lanser_cli.settings import LLM_KEY_VARIABLE
from lanser_cli.shape import Maybe, That, check_shape

PREFIX = "llm:"
"""Of the name of a model that a server has: `llm:NAME@URL`."""

SLOTS = 32
"""Requests in flight at once."""

_KEYS = (LLM_KEY_VARIABLE, "OPENAI_API_KEY")
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further try, if the server does not ask for more."""

_MOST_WAIT = 600.0
_PATIENCE = 120.0
_LONGEST = 16 << 20
"""Bytes of an answer: hundreds of times what a list of models takes."""

_PASSING = (408, 425, 429)
_LASTING = (501, 505)
"""The 5xx that say what a server cannot do at all, which no wait changes."""

Tokens: TypeAlias = list[tuple[str, float]]
"""Tokens that an answer might begin with, each with its log-probability."""

_ANSWER = {
    "choices": [
        {
            "logprobs": {
                "content": [
                    {
                        "token": str,
                        "top_logprobs": [
                            {
                                "token": str,
                                "logprob": That(float, "a log-probability", lambda it: it < 1e-3),
                            }
                        ],
                    }
                ]
            }
        }
    ]
}
_ABSENT = -1000.0
"""Some servers write -9999 or the like for a token that they know nothing of."""


class Absent(LanserError):
    """Nothing answers at the address of a server."""


class Server:
    """One model of a server.

    Args:
        name: `llm:NAME@URL`; the URL with or without `/v1`.
        allow_remote: whether transcripts may go to another machine.
        no_text: what it says may hold words of a transcript, and is not shown in any message.
        last_identity: of one that is absent, which is asked for nothing, even if it comes back.

    Attributes:
        kind: vllm, llama.cpp, ollama or other.
        identity: kind, version, model, and a digest of what the server says of the model.
        most_tokens: how many tokens come with a log-probability.

    Raises:
        UsageError: no such name, another machine, or the server does not have this model.
        Absent: nothing answers there.
        LanserError: it does not answer as it should.
    """

    def __init__(
        self,
        name: str,
        *,
        allow_remote: bool = False,
        no_text: bool = False,
        last_identity: str | None = None,
    ) -> None:
        self.name, self._no_text = name, no_text
        self.model, self._url = _parse(name, allow_remote)
        self._key = _key()
        headers = {"User-Agent": "lanser"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._pool = urllib3.PoolManager(
            maxsize=SLOTS, headers=headers, retries=False, timeout=urllib3.Timeout(_PATIENCE)
        )
        self._lock, self._said_to_wait = threading.Lock(), False
        self._given_up = threading.Event()
        self._is_absent = last_identity is not None
        self.kind, self.identity = "other", last_identity or ""
        if not self._is_absent:
            self.kind, version, about = self._look()
            digest = string64(json.dumps(about, sort_keys=True))
            self.identity = f"{self.kind} {version}, {self.model} {digest:016x}"
        self.most_tokens = 100 if self.kind == "llama.cpp" else 20

    def first_token(self, prompt: str, answers: Sequence[str]) -> tuple[str, Tokens]:
        """The token that the model answers with, and those that it might have.

        Args:
            answers: to one of which the answer is bound, where the server can do that.

        Raises:
            RecordError: this prompt gets no answer that can be used.
            LanserError: the server does not answer any more, or refuses to.
        """
        if self._is_absent:
            raise self._absent()
        reply = self._request(
            "POST",
            "/v1/chat/completions",
            {
                "model": self.model,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": 1,
                "temperature": 0,
                "seed": 0,
                "logprobs": True,
                "top_logprobs": self.most_tokens,
                **bound(self.kind, answers),
            },
        )
        try:
            check_shape(reply, _ANSWER)
            answer = reply["choices"][0]["logprobs"]["content"][0]
        except (ValueError, IndexError) as error:
            said = "there is no token"
            if isinstance(error, ValueError):  # less what is there instead, already cut
                said = str(error).partition(", not ")[0]
            raise RecordError(
                f"the server's answer does not have the log-probabilities of its token: {said}"
            ) from None
        tokens = [(token["token"], float(token["logprob"])) for token in answer["top_logprobs"]]
        return answer["token"], [(token, odds) for token, odds in tokens if odds > _ABSENT]

    def give_up(self) -> None:
        """Let no request that other threads are at be tried again; later ones are as ever."""
        self._given_up.set()
        self._given_up = threading.Event()

    def _look(self) -> tuple[str, str, object]:
        """The server's kind and version, and what it says of the model."""
        models = self._ask("/v1/models", {"data": [{"id": str, "owned_by": Maybe(str)}]})
        entries = {entry["id"]: entry for entry in models["data"]} if models else {}
        entry = entries.get(self.model) or entries.get(f"{self.model}:latest")
        if models and entry is None:
            there = self.shown(", ".join(list(entries)[:8])) or "none"
            raise UsageError(
                f"--model {self.name}: the server has no '{self.model}'; its models: {there}"
            )
        entry = entry or {}
        if entry.get("owned_by") == "vllm":
            found = self._ask("/version", {"version": str})
            kind, version = "vllm", found and found["version"]
        elif entry.get("owned_by") == "llamacpp":
            found = self._ask("/props", {"build_info": str, "model_path": Maybe(str)})
            kind, version = "llama.cpp", found and found["build_info"]
            if found and found.get("model_path"):  # two files may be alike in all that is beside it
                entry["model_path"] = found["model_path"]
            if isinstance(entry.get("meta"), dict):  # as long a text as fits, by the free memory
                entry["meta"].pop("n_ctx", None)
        elif found := self._ask("/api/version", {"version": str}):
            kind, version = "ollama", found["version"]
            tags = self._ask("/api/tags", {"models": [{"name": str, "digest": str}]})
            for tag in tags["models"] if tags else ():
                if tag["name"] in (self.model, f"{self.model}:latest"):
                    entry["digest"] = tag["digest"]
        else:
            kind, version = "other", None
        # Of the moment, not of the model; vLLM may fit the length of texts to the free memory.
        passing = ("created", "permission", "max_model_len")
        about = {name: value for name, value in entry.items() if name not in passing}
        return kind, version or "of unknown version", about

    def _ask(self, path: str, shape: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the server says at an address; None: nothing of this shape.

        Some refuse whatever they do not know with 401, 403 or a redirect: it is of another kind.

        Raises:
            LanserError: it does not answer, or refuses what every kind has.
        """
        try:
            found: dict[str, Any] = self._request("GET", path)
            check_shape(found, shape)
            return found
        except (RecordError, ValueError):
            return None

    def _request(self, method: str, path: str, body: object = None) -> Any:
        """The JSON that a request is answered with.

        Raises:
            RecordError: this request gets none, and others may.
            LanserError: no request does.
        """
        given_up = self._given_up
        for wait in (*_WAITS, None):
            asked = 0.0
            fault: LanserError
            try:
                reply = self._pool.request(
                    *(method, self._url + path),
                    json=body,
                    redirect=False,
                    preload_content=False,
                )
                data = _whole(reply)
            except NewConnectionError:
                fault = self._absent()
                if method == "GET":  # before the first question: it was not there yet
                    raise fault from None
            except TimeoutError:
                fault = self._gone(f"no answer within {_PATIENCE:.0f} s")
            except ProtocolError:  # before the answer or within it
                fault = RecordError("the server broke its answer off, in every try")
            except HTTPError as error:
                raise self._gone(self.shown(str(error))) from None
            else:
                if reply.status == 200:
                    return self._json(data)
                fault = self._refusal(reply, data, path)
                if not _passes(reply.status):
                    raise fault
                asked = _retry_after(reply.headers.get("Retry-After"))
            if wait is None or asked > _MOST_WAIT:
                raise fault
            if self._wait(max(wait, asked), given_up):
                raise fault
        raise AssertionError

    def _wait(self, seconds: float, given_up: threading.Event) -> bool:
        """Whether the request was given up meanwhile."""
        with self._lock:
            if seconds >= 5.0 and not self._said_to_wait:
                self._said_to_wait = True
                console.info(f"{self.name}: the server is busy or away: trying again for a while")
        return given_up.wait(seconds)

    def _refusal(self, reply: urllib3.BaseHTTPResponse, data: bytes, path: str) -> LanserError:
        """What an answer other than 200 means for the run."""
        status = reply.status
        said = self.shown(data.decode("utf-8", "replace"))
        every_kind_has_it = path.startswith("/v1/")
        if every_kind_has_it and 300 <= status < 400:
            return self._gone("it sends elsewhere, which is not followed: name the server itself")
        if every_kind_has_it and status in (401, 403):
            return self._gone(f"it refuses the key (HTTP {status}): set {LLM_KEY_VARIABLE}")
        if _passes(status) and status != 500:  # which one text alone may cause
            asked = _retry_after(reply.headers.get("Retry-After"))
            wish = f", and asks to wait {asked:.0f} s" if asked else ""
            return self._gone(f"it is overloaded or down (HTTP {status}{wish})")
        if status in (404, 405) and path == "/v1/chat/completions":
            return self._gone(f"it has no chat completions (HTTP {status}: {said})")
        return RecordError(f"the server refuses this text: HTTP {status}: {said}")

    def _absent(self) -> Absent:
        return Absent(str(self._gone("nothing answers there")))

    def _gone(self, reason: str) -> LanserError:
        return LanserError(
            f"--model {self.name}: {reason} (what is labelled is kept by -o; --resume goes on)"
        )

    def _json(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise RecordError("the server's answer is not JSON") from None

    def shown(self, text: str, most: int = 200) -> str:
        """What the server said, in short, without the key, which it may have repeated.

        Args:
            text: whole: half a key would not be found in it.
        """
        if self._no_text:
            return "..."
        if self._key:
            text = text.replace(self._key, "...")
        return console.printable(" ".join(text.split())[:most])


def _key() -> str:
    """The key that is sent; empty where there is none.

    Raises:
        UsageError: no header can hold it; the message does not.
    """
    for name in _KEYS:
        if key := os.environ.get(name, "").strip():
            if not (key.isascii() and key.isprintable()):
                raise UsageError(
                    f"{name}: is no key: it may hold ASCII characters in one line only"
                )
            return key
    return ""


def _whole(reply: urllib3.BaseHTTPResponse) -> bytes:
    """The bytes of an answer as they come: packed ones were not asked for, and may be bombs.

    Raises:
        RecordError: there are too many.
        HTTPError: there are fewer than the answer promises.
    """
    data = bytearray()
    for block in reply.stream(1 << 16, decode_content=False):
        data += block
        if len(data) > _LONGEST:
            reply.close()
            raise RecordError(f"the server's answer is longer than {_LONGEST >> 20} MB")
    return bytes(data)


def _parse(name: str, allow_remote: bool) -> tuple[str, str]:
    """Model and address, without `/v1`, of `llm:NAME@URL`."""
    model, _, url = name.removeprefix(PREFIX).rpartition("@")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not (model and host and parts.scheme in ("http", "https")) or parts.query or parts.fragment:
        raise UsageError(
            f"--model {PREFIX}...: write {PREFIX}NAME@URL, such as "
            f"{PREFIX}qwen3@http://127.0.0.1:8000; a key goes into {LLM_KEY_VARIABLE}"
        )
    if not (allow_remote or _is_loopback(host)):
        raise UsageError(
            f"--model {name}: '{host}' is not this machine, and transcripts may be private: "
            "--allow-remote sends them there"
        )
    return model, url.rstrip("/").removesuffix("/v1")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _passes(status: int) -> bool:
    """Whether a request that was answered so is worth another try."""
    return status in _PASSING or (500 <= status < 600 and status not in _LASTING)


def _retry_after(value: str | None) -> float:
    """Seconds, of a header that has seconds or a date; 0 if it has neither."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(str(value)).timestamp() - time.time())
    except ValueError:
        return 0.0
