"""running_backup - a backup that goes on while a test does something to it"""
import threading
import time

import harness

ENDED = ("SUCCESS", "FAILED", "CANCELLED")


class Backup:
    """`obvault backup start --wait` in the background."""

    def __init__(self, site, limit):
        self.site, self.limit, self.code, self.answer = site, limit, None, {}
        before = self.newest()
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.job = harness.wait_for("a backup to start", 20, lambda: self._started(before), 0.05)

    def _run(self):
        self.code, self.answer = self.site.cli_raw("backup", "start", "--wait", timeout=self.limit)

    def newest(self):
        code, answer = self.site.cli_raw("job", "list", "--limit", "20")
        jobs = [j for j in answer.get("jobs", []) if j["kind"] == "backup"] if code == 0 else []
        return jobs[0]["job_id"] if jobs else ""

    def _started(self, before):
        if not self.thread.is_alive():
            raise harness.Failure(f"backup start: exit {self.code}: {self.answer}")
        now = self.newest()
        return now if now != before else ""

    def shown(self):
        code, answer = self.site.cli_raw("job", "show", self.job)
        return answer if code == 0 else {}

    def copying(self):
        """Waits until PGs are being copied (or the job is over)."""
        harness.wait_for("PGs being copied", 60, lambda: self.shown().get("phase", "PREPARE") not in ("PREPARE", "SCHEDULE", "GENERATE"), 0.03)
        return self

    def over(self):
        return self.shown().get("state") in ENDED

    def end(self):
        """(state, exit code, job document); Failure when the job hangs."""
        self.thread.join(max(1.0, self.limit - (time.monotonic() - self.began)))
        if self.thread.is_alive() or self.code is None:
            raise harness.Failure(f"job {self.job} did not end in {self.limit} s: {self.shown()}")
        if self.code == 12:  # the coordinator itself was away: the job's own end counts
            harness.wait_for(f"end of {self.job}", self.limit, self.over, 0.3)
            self.code = None
        return self.shown()["state"], self.code, self.shown()
