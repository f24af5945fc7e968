"""sql_client - a small MySQL-protocol client (text and binary form), written apart from the server it tests"""
import hashlib
import socket
import struct

LONGLONG, DOUBLE, TINY, TIMESTAMP, STRING = 8, 5, 1, 7, 253


class SqlError(Exception):
    def __init__(self, number, state, text):
        super().__init__(f"{number} ({state}): {text}")
        self.number, self.state, self.text = number, state, text


class Closed(Exception):
    pass


def lenenc(b, at):
    first = b[at]
    if first < 251:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(b[at + 1 : at + 1 + size], "little"), at + 1 + size


def lenstr(b, at):
    n, at = lenenc(b, at)
    return b[at : at + n], at + n


class Column:
    def __init__(self, packet):
        at = 0
        parts = []
        for _ in range(6):
            s, at = lenstr(packet, at)
            parts.append(s.decode())
        self.name = parts[4]
        self.charset, self.length, self.type, self.flags, self.decimals = struct.unpack_from("<HIBHB", packet, at + 1)

    @property
    def unsigned(self):
        return bool(self.flags & 32)


class Connection:
    """conn.query(sql) and conn.execute(sql, params) give lists of tuples; conn.columns describes the last answer."""

    def __init__(self, ip, port, login, password, db="oceanbase", plugin="mysql_native_password", timeout=20):
        self.s = socket.create_connection((ip, port), timeout)
        self.columns = []
        self.seq = 0
        greeting = self._read()
        self._raise(greeting)
        end = greeting.index(b"\0", 1)
        self.version = greeting[1:end].decode()
        scramble = greeting[end + 5 : end + 13] + greeting[end + 32 : end + 44]
        caps = 1 | 4 | 0x200 | 0x2000 | 0x8000 | 0x80000 | (8 if db else 0)
        answer = self._answer(password, scramble) if plugin == "mysql_native_password" else b"x" * 32
        out = struct.pack("<IIB23x", caps, 1 << 24, 45) + login.encode() + b"\0" + bytes([len(answer)]) + answer
        out += (db.encode() + b"\0" if db else b"") + plugin.encode() + b"\0"
        self._write(out)
        reply = self._read()
        if reply[0] == 0xFE:
            end = reply.index(b"\0", 1)
            self._write(self._answer(password, reply[end + 1 : end + 21]))
            reply = self._read()
        self._raise(reply)

    @staticmethod
    def _answer(password, scramble):
        if not password:
            return b""
        once = hashlib.sha1(password.encode()).digest()
        mask = hashlib.sha1(scramble + hashlib.sha1(once).digest()).digest()
        return bytes(a ^ b for a, b in zip(once, mask))

    def close(self):
        self.s.close()

    # ---- packets

    def _exact(self, n):
        data = b""
        while len(data) < n:
            part = self.s.recv(n - len(data))
            if not part:
                raise Closed()
            data += part
        return data

    def _read(self):
        data = b""
        while True:
            head = self._exact(4)
            n = int.from_bytes(head[:3], "little")
            self.seq = (head[3] + 1) & 255
            data += self._exact(n)
            if n < 0xFFFFFF:
                return data

    def _write(self, data):
        self.s.sendall(len(data).to_bytes(3, "little") + bytes([self.seq]) + data)

    def command(self, code, body=b""):
        self.seq = 0
        self._write(bytes([code]) + body)

    @staticmethod
    def _raise(packet):
        if packet[:1] == b"\xff":
            raise SqlError(struct.unpack_from("<H", packet, 1)[0], packet[4:9].decode(), packet[9:].decode(errors="replace"))

    def ping(self):
        self.command(14)
        self._raise(self._read())

    def _columns(self, n):
        cols = [Column(self._read()) for _ in range(n)]
        assert self._read()[0] == 0xFE
        return cols

    def _answer_rows(self, row):
        first = self._read()
        self._raise(first)
        if first[0] == 0:
            self.columns = []
            return []
        self.columns = self._columns(lenenc(first, 0)[0])
        rows = []
        while True:
            p = self._read()
            self._raise(p)
            if p[0] == 0xFE and len(p) < 9:
                return rows
            rows.append(row(p))

    def query(self, sql):
        self.command(3, sql.encode())
        return self._answer_rows(self._text_row)

    def _text_row(self, p):
        out, at = [], 0
        for c in self.columns:
            if p[at] == 0xFB:
                out.append(None)
                at += 1
                continue
            s, at = lenstr(p, at)
            out.append(int(s) if c.type in (LONGLONG, TINY) else float(s) if c.type == DOUBLE else s.decode())
        return tuple(out)

    def prepare(self, sql):
        self.command(22, sql.encode())
        p = self._read()
        self._raise(p)
        ident, ncol, nparam = struct.unpack_from("<IHH", p, 1)
        if nparam:
            self._columns(nparam)
        self.columns = self._columns(ncol) if ncol else []
        return ident, nparam

    def execute(self, sql, params=()):
        ident, nparam = self.prepare(sql)
        rows = self.run(ident, params)
        self.command(25, struct.pack("<I", ident))
        return rows

    def run(self, ident, params=()):
        body = struct.pack("<IBI", ident, 0, 1)
        if params:
            nulls = bytearray((len(params) + 7) // 8)
            types = values = b""
            for i, v in enumerate(params):
                if v is None:
                    nulls[i // 8] |= 1 << (i % 8)
                    types += struct.pack("<H", 6)
                elif isinstance(v, int):
                    types += struct.pack("<H", LONGLONG | (0x8000 if v >= 1 << 63 else 0))
                    values += struct.pack("<Q", v & (1 << 64) - 1)
                elif isinstance(v, float):
                    types += struct.pack("<H", DOUBLE)
                    values += struct.pack("<d", v)
                else:
                    types += struct.pack("<H", STRING)
                    values += b"\xfc" + struct.pack("<H", len(v.encode())) + v.encode()
            body += bytes(nulls) + b"\1" + types + values
        self.command(23, body)
        return self._answer_rows(self._binary_row)

    def _binary_row(self, p):
        n = len(self.columns)
        at = 1 + (n + 9) // 8
        out = []
        for i, c in enumerate(self.columns):
            if p[1 + (i + 2) // 8] & 1 << (i + 2) % 8:
                out.append(None)
            elif c.type == LONGLONG:
                out.append(struct.unpack_from("<Q" if c.unsigned else "<q", p, at)[0])
                at += 8
            elif c.type == TINY:
                out.append(struct.unpack_from("<b", p, at)[0])
                at += 1
            elif c.type == DOUBLE:
                out.append(struct.unpack_from("<d", p, at)[0])
                at += 8
            elif c.type == TIMESTAMP:
                assert p[at] == 11, p[at]
                out.append("%04d-%02d-%02d %02d:%02d:%02d.%06d" % struct.unpack_from("<HBBBBBI", p, at + 1))
                at += 12
            else:
                s, at = lenstr(p, at)
                out.append(s.decode())
        assert at == len(p)
        return tuple(out)
