"""A scripted server of a language model: recorded shapes of answers, and faults on demand.

What it judges is a rule: a statement is as likely as the words it shares with the premise, and
statements differ whatever the premise. A word of the premise may ask for a fault: broken, packed,
endless, speechless, chatty, outside, onesided, parrot, garbled.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-secret-0123456789"

ENTRIES: dict[str, dict[str, Any]] = {
    "vllm": {"id": "tiny", "owned_by": "vllm", "root": "org/tiny", "max_model_len": 2048},
    "llama.cpp": {"id": "tiny", "owned_by": "llamacpp", "meta": {"n_params": 134515008}},
    "ollama": {"id": "tiny:latest", "owned_by": "library"},
    "other": {"id": "tiny", "owned_by": "someone"},
}
"""What kinds of servers say of a model at /v1/models, besides `created`."""

VERSIONS: dict[str, dict[str, dict[str, Any]]] = {
    "vllm": {"/version": {"version": "0.12.0"}},
    "llama.cpp": {"/props": {"build_info": "b7200-abcdef0", "model_path": "/tiny.gguf"}},
    "ollama": {
        "/api/version": {"version": "0.13.1"},
        "/api/tags": {"models": [{"name": "tiny:latest", "digest": "a1b2"}]},
    },
    "other": {},
}


class Scripted(ThreadingHTTPServer):
    """The server and what it has been asked.

    Attributes:
        asked: bodies of the requests for an answer, in order.
        most: log-probabilities that an answer has at most.
        statuses: by a word of the premise, what its first requests are refused with.
        refused: by path, what requests for what the server is are refused with.
        dies_after: requests for an answer after which it is gone.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, kind: str, latency: float, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.kind, self.latency = kind, latency
        self.versions = dict(VERSIONS[kind])
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.most = 20
        self.statuses: dict[str, list[tuple[int, dict[str, str]]]] = {}
        self.refused: dict[str, tuple[int, dict[str, str]]] = {}
        self.dies_after: int | None = None
        self.lock = threading.Lock()
        self.flying = self.most_flying = 0

    @property
    def model(self) -> str:
        return f"llm:tiny@http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:  # of a client that has hung up
        pass


@contextmanager
def served(kind: str = "vllm", latency: float = 0.0, port: int = 0) -> Iterator[Scripted]:
    with Scripted(kind, latency, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def log_odds(premise: str, hypothesis: str) -> float:
    """What the server holds of a statement, by rule."""
    words = set(re.findall(r"\w+", premise.lower()))
    shared = len(words & set(re.findall(r"\w+", hypothesis.lower())))
    return 2.0 * shared - 3.0 + len(premise) % 3 + 0.4 * (len(hypothesis) % 3)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the receipt of its head
    server: Scripted

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.keys.add(self.headers.get("Authorization"))
        if self.path in server.refused:
            self._send({"error": "no"}, *server.refused[self.path])
        elif self.path == "/v1/models":
            self._send({"data": [{**ENTRIES[server.kind], "created": time.time()}]})
        elif self.path in server.versions:
            self._send(server.versions[self.path])
        else:
            self._send({"error": "File Not Found"}, 404)

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        premise = re.findall(r'said: "(.*)"', prompt)[0]
        with server.lock:
            server.keys.add(self.headers.get("Authorization"))
            server.asked.append(body)
            server.flying += 1
            server.most_flying = max(server.flying, server.most_flying)
            dead = server.dies_after is not None and len(server.asked) > server.dies_after
            words = [word for word in server.statuses if word in premise]
            status = (
                server.statuses[words[0]].pop(0) if words and server.statuses[words[0]] else None
            )
        time.sleep(server.latency)
        with server.lock:
            server.flying -= 1
        if dead:
            server.socket.close()  # nobody gets in any more
            self.close_connection = True
        elif status is not None:
            # As servers do whose checks name what they were given.
            said = f"no, {self.headers.get('Authorization')}, to '{premise}'"
            self._send({"error": said}, *status)
        elif "broken" in premise:
            self._send(_reply(prompt, server.most), cut=40)
        elif "packed" in premise:  # a thousandth of what it would be
            packed = gzip.compress(bytes(1 << 20))
            self._send(packed, headers={"Content-Encoding": "gzip"})
        elif "endless" in premise:
            self._send(b"[" * (17 << 20))
        elif "speechless" in premise:
            self._send({"choices": [{"message": {"content": "Yes"}, "logprobs": None}]})
        elif "chatty" in premise:
            self._send(_tokens([("Well", -0.1), ("Yes", -3.0), ("No", -3.5)]))
        elif "outside" in premise:  # a letter that is none of the options
            self._send(_tokens([("Z", -0.1), ("A", -3.0), ("B", -3.5), ("C", -4.0)]))
        elif "onesided" in premise:
            self._send(_tokens([("Yes", -0.1), ("yes", -3.0), ("No", -9999.0)]))
        elif "parrot" in premise:
            self._send(_tokens([("." * 20 + str(self.headers.get("Authorization")), -0.1)]))
        elif "garbled" in premise:
            reply = _reply(prompt, server.most)
            [token] = reply["choices"][0]["logprobs"]["content"]
            token["top_logprobs"][0]["logprob"] = "." * 45 + str(self.headers.get("Authorization"))
            self._send(reply)
        else:
            self._send(_reply(prompt, server.most))

    def _send(
        self,
        value: object,
        status: int = 200,
        headers: dict[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, content in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(data[:cut])
        self.close_connection = self.close_connection or cut is not None


def _reply(prompt: str, most: int) -> dict[str, Any]:
    """The answer to a question about one statement, or about a list of them."""
    premise = re.findall(r'said: "(.*)"', prompt)[0]
    options = re.findall(r"^([A-Z])\. (.*)$", prompt, re.M)
    if not options:
        [statement] = re.findall(r'^Statement: "(.*)"$', prompt, re.M)
        yes = 1 / (1 + math.exp(-log_odds(premise, statement)))
        # Each answer is written in two ways; some of the mass is on neither.
        parts = {"Yes": 0.6 * yes, " yes": 0.3 * yes, "No": 0.5 * (1 - yes), "no": 0.4 * (1 - yes)}
        likely = [(token, math.log(part)) for token, part in parts.items()]
        likely.append(("Maybe", math.log(0.1)))
        likely = sorted(likely, key=lambda pair: -pair[1])
        answer = "Yes" if yes > 0.5 else "No"
        return _tokens(likely, answer)
    weights = {letter: math.exp(log_odds(premise, text)) for letter, text in options}
    total = sum(weights.values())
    likely = sorted(
        ((name, math.log(w / total)) for name, w in weights.items()), key=lambda p: -p[1]
    )
    return _tokens(likely[:most])


def _tokens(likely: list[tuple[str, float]], answer: str | None = None) -> dict[str, Any]:
    """As llama.cpp and vLLM write it."""
    top = [{"token": token, "logprob": odds, "bytes": [65]} for token, odds in likely]
    first = answer or likely[0][0]
    content = [{"token": first, "logprob": dict(likely)[first], "bytes": [65], "top_logprobs": top}]
    message = {"role": "assistant", "content": first}
    choice = {"index": 0, "finish_reason": "length", "message": message}
    return {"object": "chat.completion", "choices": [{**choice, "logprobs": {"content": content}}]}
