"""Hostile clients of a service: silent, slow, wasteful and malformed ones. Loopback only, bounded.

python -m benchmarks.hostile_clients PORT SECONDS ADDRESS
"""

import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

SILENT = 260  # connections that send nothing
SLOW_HEADERS = 20  # connections that send a byte of a header a second
SLOW_UPLOADS = 40  # uploads of which a byte arrives a second
REPEAT_S = 0.25  # between two requests of each of those that follow
UPLOAD = b"POST /align HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"


def png_of(width: int, height: int) -> bytes:
    """Return a PNG of some hundred bytes whose header claims this size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


BOMB = png_of(100_000, 100_000)
REQUESTS = {
    "garbage": b"\x16\x03\x01" + bytes(200),
    "large header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
    "wrong host": b"GET /health HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
    "bomb": UPLOAD % len(BOMB) + BOMB,
    "damaged image": UPLOAD % 2000 + b"\xff\xd8\xff" + bytes(1997),
    "claims a gigabyte": UPLOAD % 2**30 + bytes(1000),
    "leaves at once": UPLOAD % 100_000 + bytes(1000),
}


def main() -> int:
    """Attack a service for some seconds."""
    port, seconds, address = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    end = time.monotonic() + seconds

    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), 5, (address, 0))

    def repeat(data: bytes) -> None:
        while time.monotonic() < end:
            with suppress(OSError), connect() as client:
                client.sendall(data)
                client.settimeout(0.2)
                client.recv(1000)
            time.sleep(REPEAT_S)

    def not_reading() -> None:
        while time.monotonic() < end:
            with suppress(OSError), connect() as client:
                client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
                time.sleep(1)

    def hold(count: int, first: bytes, more: bytes) -> None:
        held = list[socket.socket]()
        while time.monotonic() < end:
            if len(held) < count:
                with suppress(OSError):
                    held.append(connect())
                    held[-1].sendall(first)
                continue
            for client in list(held):
                try:
                    if more:
                        client.sendall(more)
                    client.settimeout(0)
                    if client.recv(1000) == b"":
                        raise ConnectionResetError
                except BlockingIOError:
                    client.settimeout(5)
                except OSError:
                    client.close()
                    held.remove(client)
            time.sleep(1)
        for client in held:
            client.close()

    work: list[Callable[[], None]] = [
        not_reading,
        lambda: hold(SILENT, b"", b""),
        lambda: hold(SLOW_HEADERS, b"GET / HTTP/1.1\r\nX: ", b"y"),
        lambda: hold(SLOW_UPLOADS, UPLOAD % 10_000 + b"\xff", b"x"),
        *(lambda data=data: repeat(data) for data in REQUESTS.values()),
    ]
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
