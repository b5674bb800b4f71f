"""Accepts connections and closes them at once: python3 accept.py ADDRESS PORT. Prints "ready" when it listens."""
import socket
import sys

server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen(4096)
print("ready", flush=True)
while True:
    server.accept()[0].close()
