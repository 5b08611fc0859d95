"""Speaks to an address by Python's ways, and prints what each gives: its answer, or its error and number."""

import asyncio
import http.client
import socket
import sys

PATIENCE = 30


def step(name, act):
    try:
        print(name, *act())
        return True
    except OSError as error:
        print(name, type(error).__name__, error.errno)
        return False


def stream(address, port):
    with socket.create_connection((address, port), PATIENCE) as connection:
        return connection.getpeername()[:2]


async def later(address, port):
    opening = asyncio.open_connection(address, port)
    reader, writer = await asyncio.wait_for(opening, PATIENCE)
    peer = writer.get_extra_info("peername")[:2]
    writer.write(b"GET /later HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return *peer, answer.splitlines()[0], answer.splitlines()[-1]


def request(address, port):
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE)
    for method, path, body in [("GET", "/first", None), ("POST", "/second", b"said")]:
        connection.request(method, path, body)
        answer = connection.getresponse()
        yield answer.status
        yield answer.read()


def datagram(address, port, connected):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE)
        if connected:
            asking.connect((address, port))
            asking.send(b"connected")
            return *asking.getpeername()[:2], asking.recv(100)
        asking.sendto(b"unconnected", (address, port))
        answer, source = asking.recvfrom(100)
        return *source[:2], answer


async def datagram_later(address, port):
    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            transport.sendto(b"later")

        def datagram_received(self, data, source):
            heard.set_result((*source[:2], data))

    loop = asyncio.get_running_loop()
    heard = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(Protocol, remote_addr=(address, port))
    answer = await asyncio.wait_for(heard, PATIENCE)
    transport.close()
    return answer


def lookup(name):
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return sorted(address[0] for *_, address in found)


def main(mode, subject, port="0"):
    at = subject, int(port)
    steps = {
        "tcp": [
            ("socket", lambda: stream(*at)),
            ("http.client", lambda: request(*at)),
            ("asyncio", lambda: asyncio.run(later(*at))),
        ],
        "udp": [
            ("sendto", lambda: datagram(*at, False)),
            ("connect", lambda: datagram(*at, True)),
            ("asyncio", lambda: asyncio.run(datagram_later(*at))),
        ],
        "lookup": [("getaddrinfo", lambda: lookup(subject))],
    }
    done = [step(name, act) for name, act in steps[mode]]
    return 0 if all(done) else 1


sys.exit(main(*sys.argv[1:]))
