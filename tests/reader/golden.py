"""golden.py - finds golden files: the copies in tests/vectors/reader, else the full collection beside the repository."""
import json
import os

import zstandard

HERE = os.path.dirname(os.path.abspath(__file__))
PLACES = [os.path.join(HERE, '..', 'vectors', 'reader'), os.environ.get('OBV_GOLDEN', ''),
          os.path.join(HERE, '..', '..', '..', 'shared', 'golden')]


def find(name):
    """Content of a golden file, opened when it is stored compressed; None when it is in no place."""
    for place in PLACES:
        for n in (name, name + '.zst'):
            path = os.path.join(place, n)
            if place and os.path.exists(path):
                with open(path, 'rb') as f:
                    data = f.read()
                if n.endswith('.zst'):
                    data = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompress(data, max_output_size=1 << 27)
                return data
    return None


def manifest(name):
    data = find(name)
    return None if data is None else json.loads(data)


def need(test, *names):
    """The files, or the test is skipped with the reason."""
    out = [find(n) for n in names]
    if None in out:
        test.skipTest('golden file %s is in none of %s' % (names[out.index(None)], [p for p in PLACES if p]))
    return out if len(out) > 1 else out[0]


def number(v):
    return int(v, 16) if isinstance(v, str) else v
