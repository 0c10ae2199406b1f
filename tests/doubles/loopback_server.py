"""What the test doubles of servers have in common: a TCP server on loopback."""

import asyncio
import contextlib
import ssl
import threading


class LoopbackServer:
    """A TCP server on loopback that handles each connection with `serve`, and closes all when it stops.

    asyncio's own server leaves its connections open. Since Python 3.12, `wait_closed` waits until they end, for ever
    if a client keeps one for its next request.
    """

    def __init__(self):
        self.port = 0
        self._server = None
        self._connections = {}
        """The writer of each connection, by the task that handles it."""

    async def serve(self, reader, writer):
        raise NotImplementedError

    async def start(self, port=0, tls: ssl.SSLContext | None = None):
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", port, ssl=tls, limit=2**24)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        if self._server is None:
            return
        server, self._server = self._server, None
        # Let connections that were accepted just now begin: asyncio drops theirs unclosed if the server is closed by then.
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening)
        await asyncio.sleep(0)
        server.close()
        for task, writer in self._connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await server.wait_closed()

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def _handle(self, reader, writer):
        task = asyncio.current_task()
        self._connections[task] = writer
        try:
            if self._server is not None:  # a connection can begin while the server stops
                await self.serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # the client closed the connection, or the test ended
        finally:
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()
            del self._connections[task]


@contextlib.contextmanager
def running_in_thread(server):
    """Run a server on an event loop in a thread, for programs that the test waits for."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
