"""The description has all ways to ask, and nothing else; that it is true is tried with a real venue."""

import asyncio
import json
from pathlib import Path

from openapi_spec_validator import validate

from gateways.web.description import MESSAGES, asyncapi, openapi
from gateways.web.hub import CHANNELS
from gateways.web.operator_routes import OperatorRoutes
from gateways.web.private import CHANNELS as PRIVATE_CHANNELS
from gateways.web.requests import METHODS
from gateways.web.routes import Routes
from tests.models.running import make
from tests.models.web_stage import Stage


def test_it_is_valid_openapi():
    """By a validator of its own."""
    validate(json.loads(openapi("1")))


def test_every_route_is_described(tmp_path: Path):
    """An action of operators by its name; the descriptions themselves and the pages of the console are not."""

    async def routes() -> list:
        stage = Stage(tmp_path)
        table = Routes(stage.gateway, lambda: None, lambda _request: None)
        operators = OperatorRoutes(make(tmp_path / "v"), stage.gateway, table)
        return [*table.table(), *operators.table()]

    served = {(one.method.lower(), one.path) for one in asyncio.run(routes()) if one.path.startswith("/v1")}
    paths = json.loads(openapi("1"))["paths"]
    described = {(method, path) for path, methods in paths.items() for method in methods}
    actions = {one for one in described if one[0] == "post" and one[1].startswith("/v1/venue/")}
    assert described - actions | {("post", "/v1/venue/{action}")} == served
    assert len(actions) == 5


def test_every_channel_and_method_is_described():
    """What is told, and what is asked."""
    assert {*CHANNELS, *PRIVATE_CHANNELS, "status", "heartbeat", "reply"} == set(MESSAGES)
    messages = json.loads(asyncapi("1"))["channels"]["v2"]["messages"]
    asked = {name.removeprefix("ask_") for name in messages if name.startswith("ask_")}
    assert asked == {"ping", "subscribe", "subscribe_private", *METHODS}
