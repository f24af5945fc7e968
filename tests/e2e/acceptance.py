"""acceptance - one line a check, and an exit code that tells the truth."""
import subprocess
import sys
import time
import traceback


class Acceptance:
    def __init__(self, root, only=""):
        self.root, self.only, self.bad, self.good = root, only, 0, 0
        self.tests_run_output = ""  # of the tests/run that a full form made

    def wants(self, what):
        return not self.only or self.only in what

    def line(self, ok, what, figure):
        self.good, self.bad = self.good + bool(ok), self.bad + (not ok)
        print(f"{'ok' if ok else 'FAIL'} {what}: {figure}", flush=True)
        return ok

    def check(self, what, function, *args, **kw):
        """Runs function -> (ok, figure); an exception is a failure with its text, never a silence."""
        if not self.wants(what):
            return None
        began = time.monotonic()
        try:
            ok, figure = function(*args, **kw)
        except Exception as e:  # every failure must end as a line
            traceback.print_exc(file=sys.stderr)
            ok, figure = False, f"{type(e).__name__}: {str(e).strip().splitlines()[0] if str(e).strip() else e!r}"
        return self.line(ok, what, f"{figure} ({time.monotonic() - began:.0f} s)")

    def command(self, argv, timeout, env=None):
        """(exit code, output) of a command run in the project's root."""
        done = subprocess.run(argv, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=timeout, env=env)
        return done.returncode, done.stdout

    def finish(self):
        if self.good + self.bad == 0:
            print("FAIL acceptance: no check ran")
            return 1
        return 1 if self.bad else 0
