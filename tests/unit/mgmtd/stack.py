# SPDX-License-Identifier: Apache-2.0
"""mgmtd and the fake broker in a temporary folder, and the command, for tests in Python.

Programs come from BULKHEAD, MGMTD and FAKE_BROKER in the environment.
"""
import os
import subprocess
import tempfile
import time

BULKHEAD, MGMTD, FAKE = (os.environ[v] for v in ("BULKHEAD", "MGMTD", "FAKE_BROKER"))
NOBODY = 65534


class Stack:
    """prefix: words before mgmtd's command line, for instance of a tracer."""

    def __init__(self, prefix=()):
        # pylint: disable=consider-using-with
        self.prefix = list(prefix)
        self.folder = tempfile.TemporaryDirectory(prefix="bulkhead-test.")
        self.dir = self.folder.name
        os.chmod(self.dir, 0o755)
        for name in ("state", "run"):
            os.mkdir(self.path(name))
            if os.geteuid() == 0:
                os.chown(self.path(name), NOBODY, NOBODY)
        with open(self.path("kernel"), "w", encoding="utf-8") as f:
            f.write("a kernel")
        self.log = open(self.path("log"), "wb")
        self.broker = self.mgmtd = None
        self.start_broker()

    def start_broker(self):
        # pylint: disable=consider-using-with
        self.broker = subprocess.Popen([FAKE, self.path("broker")], stderr=self.log)

    def start(self, *options):
        # pylint: disable=consider-using-with
        self.wait_for(lambda: os.path.exists(self.path("broker")))
        command = self.prefix + [
            MGMTD, "--state-dir", self.path("state"), "--run-dir", self.path("run"),
            "--broker-socket", self.path("broker"), *options]
        if os.geteuid() == 0:
            command += ["--user", str(NOBODY)]
        self.mgmtd = subprocess.Popen(command, stderr=self.log)
        self.wait_for(lambda: os.path.exists(self.path("run/api")))
        self.wait_for(lambda: "fake" in self.run("host").stdout)

    def path(self, name):
        return os.path.join(self.dir, name)

    @staticmethod
    def wait_for(condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    def stop(self):
        for process in filter(None, (self.mgmtd, self.broker)):
            process.terminate()
            process.wait(20)
        self.log.close()
        self.folder.cleanup()

    def environment(self, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("BULKHEAD_")}
        env.update(BULKHEAD_SERVER="ipc://" + self.path("run/api"),
                   BULKHEAD_STATE_DIR=self.path("state"), HOME=self.path("home"))
        env.update(more)
        return env

    def run(self, *args, stdin=None, **more):
        """The command; stdin is text for it, more are variables of its environment."""
        given = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run([BULKHEAD, *args], capture_output=True, text=True, timeout=60,
                              env=self.environment(**more), check=False, **given)
