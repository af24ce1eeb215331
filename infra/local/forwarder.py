"""Plain 127.0.0.1 ports in front of the emulator's virtual hosts.

    forwarder.py UPSTREAM PORT=HOST [PORT=HOST ...]

Each PORT passes everything on to UPSTREAM under the name HOST: method, raw
path and query, headers, body; and the answer back, redirects and repeated
headers included. The client's address is appended to X-Forwarded-For, as API
Gateway does.
"""

import asyncio
import sys

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

# Of one connection, not of the message (RFC 9110, 7.6.1), or computed anew.
OF_THE_CONNECTION = {
    "connection", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "content-length", "host",
}  # fmt: skip


def passed_on(headers) -> CIMultiDict:
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in OF_THE_CONNECTION
    )


def application(session: ClientSession, upstream: str, host: str, port: int) -> web.Application:
    async def forward(request: web.Request) -> web.Response:
        headers = passed_on(request.headers)
        hops = request.headers.getall("X-Forwarded-For", [])
        headers["X-Forwarded-For"] = ", ".join([*hops, request.remote])
        headers["X-Forwarded-Proto"] = "http"
        headers["X-Forwarded-Port"] = str(port)
        headers["Host"] = host
        try:
            async with session.request(
                request.method,
                URL(upstream + request.raw_path, encoded=True),
                headers=headers,
                data=await request.read() or None,
                allow_redirects=False,
            ) as answer:
                return web.Response(
                    status=answer.status,
                    reason=answer.reason,
                    headers=passed_on(answer.headers),
                    body=await answer.read(),
                )
        except (ClientError, asyncio.TimeoutError) as error:
            return web.Response(status=502, text=f"the emulator did not answer: {error!r}\n")

    # API Gateway takes 10 MB.
    app = web.Application(client_max_size=10 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


async def main() -> None:
    upstream, *doors = sys.argv[1:]
    session = ClientSession(
        connector=TCPConnector(limit=0),
        timeout=ClientTimeout(total=60),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )
    for door in doors:
        port, host = door.split("=", 1)
        runner = web.AppRunner(application(session, upstream, host, int(port)), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    await asyncio.Event().wait()


asyncio.run(main())
