"""The live server inside a program of one's own, with a route beside it: python examples/own_server.py --port 8080"""

import argparse

from aiohttp import web

from realtime.config import make
from realtime.serve import build

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", type=int, default=8080)
options = parser.parse_args()

config = make(model="embedded", port=options.port, max_sessions=2)
app = build(config)


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="The studio is at /, this is mine.\n")


app.router.add_get("/hello", hello)
web.run_app(app, host=config.host, port=config.port)
