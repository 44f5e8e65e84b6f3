"""What `spindle bench` does not do: clients that ask for nothing, and reads within a part of an export."""
import random
import socket
import struct
import time

BLOCK_BYTES = 4096
DEPTH = 32
# Requests go out and replies come in by so many, so that there is always as much again with the server.
BATCH = DEPTH // 2
REPLY = struct.Struct(f"!IIQ{BLOCK_BYTES}x")
SIMPLE_REPLY = 0x67446698
SILENCE_SECONDS = 10


class ConnectionFailed(Exception):
    """A server that closed the connection, was silent, or did not answer as it should."""


def open_export(server):
    """A connection on which the export is open; and how many bytes the export has."""
    client = server.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SILENCE_SECONDS, 0))
    receive(client, bytearray(18))
    name = server.export().encode()
    # NBD_FLAG_C_FIXED_NEWSTYLE and NO_ZEROES, then NBD_OPT_EXPORT_NAME.
    client.sendall(struct.pack("!I8sII", 3, b"IHAVEOPT", 1, len(name)) + name)
    answer = bytearray(10)
    receive(client, answer)
    return client, int.from_bytes(answer[:8], "big")


def receive(client, buffer):
    try:
        count = client.recv_into(buffer, len(buffer), socket.MSG_WAITALL)
    except OSError as error:
        raise ConnectionFailed(f"nothing came from the server: {error}") from error
    if count < len(buffer):
        raise ConnectionFailed("the server closed the connection")


def read_end(server, range_bytes, seconds):
    """Reads blocks of the last `range_bytes` of an export at random for so long; how many, and in which time."""
    client, export_bytes = open_export(server)
    with client:
        first = export_bytes - range_bytes
        chosen = random.Random(1)
        batches = [
            b"".join(struct.pack("!IHHQQI", 0x25609513, 0, 0, number,
                                 first + chosen.randrange(range_bytes // BLOCK_BYTES) * BLOCK_BYTES, BLOCK_BYTES)
                     for number in range(BATCH))
            for _ in range(4096)]
        replies = bytearray(BATCH * REPLY.size)
        count = 0
        client.sendall(batches[-1])
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + seconds:
            client.sendall(batches[count % len(batches)])
            receive(client, replies)
            for magic, error, _ in REPLY.iter_unpack(replies):
                if magic != SIMPLE_REPLY or error != 0:
                    raise ConnectionFailed(f"the server answered a READ with error {error}, magic number {magic:#x}")
            count += 1
        receive(client, replies)
        # NBD_CMD_DISC
        client.sendall(struct.pack("!IHHQQI", 0x25609513, 0, 2, 0, 0, 0))
        return count * BATCH, now - begin
