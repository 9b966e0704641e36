"""A WebSocket origin that says back what it hears. Prints its HOST:PORT; ends when it is killed."""

import asyncio

import websockets


async def echo(socket, *_):
    async for message in socket:
        await socket.send(message)


async def main():
    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
        host, port = server.sockets[0].getsockname()
        print(f"{host}:{port}")
        await asyncio.Future()


asyncio.run(main())
