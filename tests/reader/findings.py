"""findings.py - what the strict check reports: file, offset, rule, text."""
import os
from typing import NamedTuple, Optional

from errors import ObError


class Finding(NamedTuple):
    path: str
    offset: Optional[int]
    rule: str
    text: str
    rc: int = 0  # OceanBase's number when it would reject too
    leftover: bool = False  # a crash may leave it behind; no reader is hurt

    def __str__(self):
        where = self.path + ('' if self.offset is None else ':%d' % self.offset)
        return '%s: [%s] %s%s' % (where, self.rule, self.text, ' (OceanBase: %d)' % self.rc if self.rc else '')


class Findings(list):
    """A list that knows the top of the tree, so that paths are short; picklable across processes."""

    def __init__(self, top=''):
        super().__init__()
        self.top = top

    def rel(self, path):
        return os.path.relpath(path, self.top) if self.top and path.startswith('/') else path

    def add(self, path, rule, text, offset=None, rc=0):
        self.append(Finding(self.rel(path), offset, rule, text, rc))

    def leftover(self, path, rule, text, offset=None):
        self.append(Finding(self.rel(path), offset, rule, text, 0, True))

    def note(self, path):
        """note(offset, rule, text) for the readers of one file."""
        return lambda offset, rule, text: self.add(path, rule, text, offset)

    def error(self, path, rule, e):
        self.append(Finding(self.rel(e.path or path), e.offset, rule, '%s: %s' % (e.name, e.text), e.rc))

    def guard(self, path, rule):
        """with findings.guard(path, rule): an error becomes a finding."""
        return _Guard(self, path, rule)


class _Guard:
    def __init__(self, findings, path, rule):
        self.findings, self.path, self.rule = findings, path, rule

    def __enter__(self):
        return self

    def __exit__(self, kind, e, tb):
        if isinstance(e, ObError):
            self.findings.error(self.path, self.rule, e)
        elif isinstance(e, Exception):  # damage that no rule foresaw: a finding, never the end of the check
            self.findings.add(self.path, self.rule, 'cannot be read: %r at line %d' % (e, _deepest(tb)))
        return isinstance(e, Exception)


def _deepest(tb):
    while tb.tb_next:
        tb = tb.tb_next
    return tb.tb_lineno
