"""check_own.py - what obvault itself keeps below obvault/: its identity, proven by its own digest (docs/format.md).

No reader of OceanBase's looks here; a tree without it is a stock tree.
"""
import hashlib
import json
import os

KEYS = ['format_version', 'uuid', 'profile', 'cluster_name', 'cluster_id', 'created_at', 'capabilities', 'sha256']


def check_identity(out, cp):
    """CP/obvault/repository.json, when it is there."""
    path = os.path.join(cp, 'obvault', 'repository.json')
    if not os.path.exists(path):
        return
    with open(path, 'rb') as f:
        text = f.read()
    say = lambda what, offset=0: out.add(path, 'format.md, repository identity', what, offset)
    head, found, tail = text.rpartition(b',"sha256":"')
    if not found or tail[64:] != b'"}\n' or tail[:64] != hashlib.sha256(head).hexdigest().encode():
        say('the text does not fit its sha256', len(head) if found else 0)
        return
    v = json.loads(text)
    if list(v) != KEYS or json.dumps(v, separators=(',', ':')).encode() + b'\n' != text:
        say('members or form')
    place = os.path.dirname(cp)
    if (v['cluster_name'], v['cluster_id']) != (os.path.basename(os.path.dirname(place)), int(os.path.basename(place))):
        say('is of another cluster')
