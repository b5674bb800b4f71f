"""One thread that connects, one connection after the other: python3 connect.py. A line "SECONDS ADDRESS PORT" asks for that long;
it answers with connections a second. Connections are reset, so that their source ports can be used again at once."""
import socket
import struct
import sys
import time

RESET = struct.pack("ii", 1, 0)

for line in sys.stdin:
    seconds, address, port = line.split()
    place = (address, int(port))
    done = 0
    start = time.perf_counter()
    end = start + float(seconds)
    while time.perf_counter() < end:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.connect(place)
        client.close()
        done += 1
    print(done / (time.perf_counter() - start), flush=True)
