"""Talk to a llama-server on this host: is it up, is it busy, does it generate."""

from __future__ import annotations

import http.client
import json
import re
from typing import Any
from urllib.parse import urlsplit


COMPLETION = {"prompt": "Hello", "n_predict": 1, "temperature": 0, "cache_prompt": False}
OK, UNAUTHORISED = 200, 401


class Server:
    """One server, asked without proxies."""

    def __init__(self, url: str, key_file: str = "") -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._headers = {"Content-Type": "application/json"}
        if key_file:
            with open(key_file, encoding="utf-8") as file:
                self._headers["Authorization"] = f"Bearer {file.readline().strip()}"

    def ask(self, method: str, path: str, body: Any = None, timeout_s: float = 5) -> tuple[int, str]:
        """Return status and text; status 0 and the reason when there is no answer."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, body=data, headers=self._headers)
            response = connection.getresponse()
            return response.status, response.read(1 << 20).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error) or type(error).__name__
        finally:
            connection.close()

    def health(self) -> int:
        """Return the status of /health: 503 while loading, 0 when nothing listens."""
        return self.ask("GET", "/health")[0]

    def is_busy(self) -> bool:
        """Tell whether requests are being served; a server that does not say is not waited for."""
        status, text = self.ask("GET", "/metrics")
        found = re.search(r"^llamacpp:requests_processing\s+([0-9.]+)", text, re.MULTILINE)
        return status == OK and found is not None and float(found[1]) > 0

    def refusal(self, probe: str, timeout_s: float) -> str:
        """Have one token generated; give what is wrong with the answer, or nothing."""
        if probe == "health":
            return ""
        path, body = ("/completion", COMPLETION)
        if probe == "embedding":
            path, body = "/v1/embeddings", {"input": "Hello"}
        status, text = self.ask("POST", path, body, timeout_s)
        if status != OK:
            return f"POST {path} answers {status}: {text[:300]}"
        try:
            answer = json.loads(text)
        except ValueError:
            return f"POST {path} answers no JSON"
        told = answer.get("data") if probe == "embedding" else answer.get("tokens_predicted")
        return "" if told else f"POST {path} generated nothing"
