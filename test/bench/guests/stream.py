"""A service and its client, for what a forwarder costs.
python3 stream.py serve ADDRESS: two services: one closes each connection at once, one sends without end; prints their ports.
python3 stream.py ask: a line "connect SECONDS ADDRESS PORT" asks for connections one after the other, each until the service has closed
it, and is answered by how many a second; "receive SECONDS ADDRESS PORT" by bytes a second on one connection."""
import socket
import struct
import sys
import threading
import time

RESET = struct.pack("ii", 1, 0)
CHUNK = bytes(1 << 18)


def listen(address):
    server = socket.socket()
    server.bind((address, 0))
    server.listen(4096)
    return server


def send_all(connection):
    try:
        while True:
            connection.sendall(CHUNK)
    except OSError:
        connection.close()


def serve(address):
    closing, sending = listen(address), listen(address)
    print(closing.getsockname()[1], sending.getsockname()[1], flush=True)
    threading.Thread(target=lambda: [threading.Thread(target=send_all, args=sending.accept()[:1], daemon=True).start() for _ in iter(int, 1)], daemon=True).start()
    while True:
        closing.accept()[0].close()


def connect(place, seconds):
    done = 0
    start = time.perf_counter()
    while time.perf_counter() < start + seconds:
        client = socket.create_connection(place)
        while client.recv(16):
            pass
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        done += 1
    return done / (time.perf_counter() - start)


def receive(place, seconds):
    client = socket.create_connection(place)
    buffer = bytearray(1 << 20)
    client.recv_into(buffer)
    done = 0
    start = time.perf_counter()
    while time.perf_counter() < start + seconds:
        done += client.recv_into(buffer)
    rate = done / (time.perf_counter() - start)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    return rate


if sys.argv[1] == "serve":
    serve(sys.argv[2])
for line in sys.stdin:
    what, seconds, address, port = line.split()
    print({"connect": connect, "receive": receive}[what]((address, int(port)), float(seconds)), flush=True)
