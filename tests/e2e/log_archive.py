"""log_archive - the checks behind tests/accept/03-log-archive, in the order of the issue's acceptance"""
import concurrent.futures
import sys
import traceback

import log_damage
import log_kills
import log_lag
import log_storm
from acceptance import Acceptance

MODULES = (log_storm, log_kills, log_damage, log_lag)


class Recorded(Acceptance):
    """Lines of a module that runs beside others: kept, to be told in their place."""

    def __init__(self, root, only):
        super().__init__(root, only)
        self.lines = []

    def line(self, ok, what, figure):
        self.lines.append((ok, what, figure))
        return ok


def guarded(module, accept, quick, seed):
    """What breaks outside of a line is a line, too."""
    try:
        module.check(accept, quick, seed)
    except Exception as e:
        traceback.print_exc(file=sys.stderr)
        accept.line(False, module.__name__, f"{type(e).__name__}: {str(e)[:300]}")


def recorded(name, root, only, quick, seed):
    lines = Recorded(root, only)
    guarded(next(m for m in MODULES if m.__name__ == name), lines, quick, seed)
    return lines.lines


def run(accept, quick, seed):
    if not quick:  # one after the other: figures and time-outs are those of a machine of its own
        for module in MODULES:
            guarded(module, accept, quick, seed)
        return
    # each is a site of its own that mostly waits: in processes of their own, since a site catches signals
    with concurrent.futures.ProcessPoolExecutor(max_workers=len(MODULES)) as pool:
        for done in [pool.submit(recorded, m.__name__, accept.root, accept.only, quick, seed) for m in MODULES]:
            for line in done.result():
                accept.line(*line)
