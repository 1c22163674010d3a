"""What the web gateway says of itself, for holding what it says otherwise against it."""

import json
import urllib.request
from collections import Counter
from typing import Any

from jsonschema import Draft202012Validator


class Description:
    """OpenAPI and AsyncAPI of a gateway that runs; `checked` counts what was held against them."""

    def __init__(self, url: str) -> None:
        self.openapi = self._load(url, "openapi")
        self.asyncapi = self._load(url, "asyncapi")
        self.checked: Counter[str] = Counter()
        self._told = {
            name: Draft202012Validator({**message["payload"], "components": self.asyncapi["components"]})
            for name, message in self.asyncapi["channels"]["v2"]["messages"].items()
        }

    def check_answer(self, method: str, path: str, status: int, body: Any) -> None:
        """Raises jsonschema.ValidationError, or KeyError for a way to ask that is not described."""
        known = self._path(path.partition("?")[0], method)
        said = self.openapi["paths"][known][method.lower()]["responses"]
        schema = said["200" if status == 200 else "default"]["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": self.openapi["components"]}).validate(body)
        self.checked[f"{method} {known} {status}"] += 1

    def check_message(self, message: dict) -> None:
        """Raises jsonschema.ValidationError, or KeyError."""
        name = "reply" if "method" in message else message["channel"]
        self._told[name].validate(message)
        self.checked[name] += 1

    def check_request(self, method: str, request: dict) -> None:
        """Of a client."""
        self._told[f"ask_{method}"].validate(request)
        self.checked[f"ask_{method}"] += 1

    def _path(self, path: str, method: str) -> str:
        """The described path that this is one of: one that is written out goes before one with a place in it."""
        parts = path.split("/")
        fits = [
            known
            for known, methods in self.openapi["paths"].items()
            if method.lower() in methods
            and len(known.split("/")) == len(parts)
            and all(one == other or one.startswith("{") for one, other in zip(known.split("/"), parts, strict=True))
        ]
        if not fits:
            raise KeyError(f"{method} {path} is not described")
        return min(fits, key=lambda known: known.count("{"))

    @staticmethod
    def _load(url: str, name: str) -> Any:
        with urllib.request.urlopen(f"{url}/{name}.json", timeout=20) as answer:
            return json.loads(answer.read())
