"""log_archive - the checks behind tests/accept/03-log-archive, in the order of the issue's acceptance"""
import log_storm

MODULES = (log_storm,)


def run(accept, quick, seed):
    for module in MODULES:
        module.check(accept, quick, seed)
