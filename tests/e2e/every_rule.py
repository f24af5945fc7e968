"""every_rule - the checks behind tests/accept/02-right-by-every-rule, in the order of the issue's acceptance"""
import coverage
import ddl_storm
import doctor
import flips
import fresh
import fuzzing
import golden_sweep
import host_faults
import kit
import operations
import rules

# the storm needs a minute even in its short form, coverage a build of its own
MODULES = (golden_sweep, rules, ddl_storm, flips, kit, host_faults, fuzzing, coverage, doctor, operations)
NOT_QUICK = (ddl_storm, coverage)


def run(accept, quick, seed):
    if not quick:
        accept.check("tests/run --no-accept", fresh.tests_run, accept)
    for module in MODULES:
        if not (quick and module in NOT_QUICK):
            module.check(accept, quick, seed)
