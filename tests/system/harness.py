# SPDX-License-Identifier: Apache-2.0
"""Runs the daemons from a build tree, and drives them as a person would: by the `bulkhead` command.

Used by the demo, the system tests and the benches. Everything lives in one temporary folder, which
goes away with the Stack. The daemons run in the foreground, without systemd.
"""
import argparse
import json
import os
import pwd
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = {
    "bulkhead": "mgmtd/cli/bulkhead",
    "bulkhead-mgmtd": "mgmtd/bulkhead-mgmtd",
    "bulkhead-vmmcore": "vmmcore/broker/bulkhead-vmmcore",
    "bulkhead-partition": "vmmcore/partition/bulkhead-partition",
    "bulkhead-worker": "workers/bulkhead-worker",
    "bulkhead-vsp-storage": "vsp/storage/bulkhead-vsp-storage",
    "bulkhead-vsp-integration": "vsp/integration/bulkhead-vsp-integration",
    "bulkhead-disk-job": "vsp/storage/job/bulkhead-disk-job",
    "bulkhead-vsp-socket": "vsp/socket/bulkhead-vsp-socket",
}
READY = "bulkhead guest: ready"         # printed by the initramfs' /init
PROMPT = "guest# "
SKIP = 77


class Failure(Exception):
    """Something did not happen as it must; the text says what."""


class Skip(Exception):
    """This host lacks something; the text says what."""


def fetch(program, *args):
    """What one of the fetch-* programs says that it has: names and paths."""
    done = subprocess.run([os.path.join(HERE, program), *args], capture_output=True, text=True,
                          check=False)
    if done.returncode == SKIP:
        raise Skip(done.stdout.strip().removeprefix("SKIP: "))
    if done.returncode:
        raise Failure(f"{program} failed: {done.stderr.strip()}")
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def material(build, kernel="cloud"):
    """Paths of one of Debian's kernels and the small initramfs, fetched once into the build folder."""
    return fetch("fetch-material", "--cache", os.path.join(build, "material"), "--kernel", kernel)


def debian(build):
    """Paths of a whole Debian 12: kernel, initrd, image of its root; built once in the build folder."""
    return fetch("fetch-debian", "--cache", os.path.join(build, "material", "debian"))


# A line of the kernel's, which may come in the middle of somebody else's.
KERNEL_LINE = r"(?:\[ *\d+\.\d{6}\] [^\n]*\n)"


def find_words(text, words, start=0):
    """Where these words are, also with lines of the kernel's in them: (start, end), or None."""
    at = text.find(words, start)
    if at >= 0:
        return at, at + len(words)
    pattern = f"{KERNEL_LINE}*".join(re.escape(c) for c in words)
    found = re.compile(pattern).search(text, start)
    return found.span() if found else None


class Console:
    """`bulkhead console` of one VM with pipes: what the guest prints, and a way to type."""

    def __init__(self, process):
        self.process = process
        self.text = ""
        self.first_byte = None
        os.set_blocking(process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(process.stdout, selectors.EVENT_READ)

    def pump(self, seconds):
        """Takes what comes within the time; False at end of output."""
        for _ in self.selector.select(seconds):
            chunk = os.read(self.process.stdout.fileno(), 65536)
            if not chunk:
                return False
            if self.first_byte is None:
                self.first_byte = time.monotonic()
            self.text += chunk.decode("utf-8", "replace")
        return True

    def wait_for(self, text, seconds, start=0):
        """Position after the next `text` at or after start."""
        deadline = time.monotonic() + seconds
        while True:
            found = find_words(self.text, text, start)
            if found:
                return found[1]
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"no {text!r} on the console within {seconds} s; it ends with:\n"
                              + self.text[-1500:])
            if not self.pump(min(left, 1.0)):
                raise Failure(f"the console closed before {text!r}; it ends with:\n"
                              + self.text[-1500:])

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def login(self, seconds=120):
        """As root, without a password, from the login prompt to the shell's."""
        at = len(self.text)
        self.type("root\n")
        self.wait_for(PROMPT, seconds, at)

    def run(self, command, seconds=60):
        """What a command printed in the guest's shell."""
        start = len(self.text)
        # The marker is spelled in two parts, so that the echo of the command is not taken for it.
        self.type(f"{command}; echo 'end-of-''output' $?\n")
        end = self.wait_for("end-of-output ", seconds, start)
        self.wait_for(PROMPT, seconds, end)
        status = int(re.match(KERNEL_LINE + r"*(\d+)", self.text[end:]).group(1))
        body = self.text[start:find_words(self.text, "end-of-output ", start)[0]]
        body = body.replace("\r\n", "\n")
        return status, body.split("\n", 1)[1] if "\n" in body else ""

    def close(self):
        if self.process.stdin:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        self.selector.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Stack:
    """bulkhead-vmmcore and bulkhead-mgmtd in the foreground, in a folder of their own."""

    def __init__(self, build, user="nobody", broker_options=(), daemon_options=()):
        self.build = os.path.abspath(build)
        self.user = user
        self.dir = tempfile.mkdtemp(prefix="bulkhead-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.run_dir = os.path.join(self.dir, "run")
        self.state_dir = os.path.join(self.dir, "state")
        self.files = os.path.join(self.dir, "files")
        self.log = open(os.path.join(self.dir, "log"), "ab")
        self.broker = self.daemon = None
        self.broker_options = list(broker_options)
        self.daemon_options = list(daemon_options)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def program(self, name):
        path = os.path.join(self.build, PROGRAMS[name])
        if not os.path.exists(path):
            raise Failure(f"{path} is not built")
        return path

    def start(self):
        root = os.geteuid() == 0
        ids = pwd.getpwnam(self.user) if root else pwd.getpwuid(os.geteuid())
        for folder in (self.run_dir, self.state_dir, self.files):
            os.makedirs(folder, exist_ok=True)
            if root:
                os.chown(folder, ids.pw_uid, ids.pw_gid)
        libexec = os.path.join(self.dir, "libexec")
        os.makedirs(libexec, exist_ok=True)
        for name in ("bulkhead-partition", "bulkhead-worker", "bulkhead-vsp-storage",
                     "bulkhead-vsp-integration", "bulkhead-disk-job",
                     "bulkhead-vsp-socket"):
            if not os.path.lexists(os.path.join(libexec, name)):
                os.symlink(self.program(name), os.path.join(libexec, name))
        socket = os.path.join(self.run_dir, "vmmcore.sock")
        self.broker = subprocess.Popen(
            [self.program("bulkhead-vmmcore"), "--socket", socket, "--libexec", libexec,
             "--peer-uid", str(ids.pw_uid), *self.broker_options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.wait_until(lambda: os.path.exists(socket), 30, "the broker's socket", self.broker)
        command = [self.program("bulkhead-mgmtd"), "--state-dir", self.state_dir,
                   "--run-dir", self.run_dir, "--broker-socket", socket, *self.daemon_options]
        if root:
            command += ["--user", self.user]
        self.daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log,
                                       stderr=self.log)
        self.wait_until(lambda: self.cli("host", check=False).returncode == 0, 30,
                        "an answer of mgmtd", self.daemon)

    def wait_until(self, condition, seconds, what, process=None):
        deadline = time.monotonic() + seconds
        while not condition():
            if process and process.poll() is not None:
                raise Failure(f"{what} did not come: the process ended with status "
                              f"{process.returncode}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise Failure(f"{what} did not come within {seconds} s\n{self.log_tail()}")
            time.sleep(0.05)

    def log_tail(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as f:
            return f.read()[-3000:]

    def power_cut(self):
        """The daemon is killed, and the broker knows of nothing from before; both are started again."""
        self.daemon.kill()
        self.daemon.wait()
        self.broker.send_signal(signal.SIGTERM)
        self.broker.wait(30)
        self.start()

    def stop(self):
        for process in (self.daemon, self.broker):
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- the command

    def command(self, *args):
        return [self.program("bulkhead"),
                "--server", "ipc://" + os.path.join(self.run_dir, "api"),
                "--key", os.path.join(self.state_dir, "keys", "admin.key"), *args]

    def cli(self, *args, check=True, timeout=60):
        done = subprocess.run(self.command(*args), capture_output=True, text=True, check=False,
                              timeout=timeout, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            raise Failure(f"bulkhead {' '.join(args)} ended with {done.returncode}:\n"
                          f"{done.stderr.strip()}\n{self.log_tail()}")
        return done

    def json(self, *args):
        return json.loads(self.cli("--json", *args).stdout)

    def console(self, name):
        return Console(subprocess.Popen(self.command("console", name), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log))

    def give(self, path):
        """A copy of a file that the daemon's user may read."""
        folder, name = os.path.split(path)
        copy = os.path.join(self.files, os.path.basename(folder) + "-" + name)
        if not os.path.exists(copy):
            shutil.copyfile(path, copy)
            os.chmod(copy, 0o644)
        return copy

    def create_linux(self, name, stuff, memory="256MiB", vcpus=1, cmdline="console=ttyS0",
                     extra=()):
        self.cli("create", name, "--memory", memory, "--vcpus", str(vcpus),
                 "--kernel", self.give(stuff["kernel"]), "--initrd", self.give(stuff["initrd"]),
                 "--cmdline", cmdline, *extra)

    def state(self, name):
        return self.json("show", name)["state"]

    def wait_state(self, name, state, seconds):
        self.wait_until(lambda: self.state(name) == state, seconds, f"state {state} of {name}")

    def processes(self, name):
        """What `bulkhead show` says of the VM's processes."""
        return self.json("show", name)["processes"]


def pss_beyond_ram(pid):
    """KiB of proportional set size of a process, less the guest's RAM."""
    total, ram = 0, False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                ram = "/memfd:ram " in line
            elif line.startswith("Pss:") and not ram:
                total += int(line.split()[1])
    return total


def cpu_seconds(pid):
    """Processor time a process has used, all its threads."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Report:
    """Test results as lines of "ok name" and "not ok name: why"."""

    def __init__(self):
        self.failed = 0

    def check(self, name, good, why=""):
        if good:
            print(f"ok {name}", flush=True)
        else:
            self.failed += 1
            print(f"not ok {name}: {why}", flush=True)

    def status(self):
        return 1 if self.failed else 0


def parse_build(description):
    """The one option every test has."""
    ap = argparse.ArgumentParser(description=description)
    ap.add_argument("--build", default="build")
    return ap.parse_args().build


def need_root(what):
    if os.geteuid() != 0:
        raise Skip(f"{what} needs root")


def main_with_skips(main):
    """Runs main() as a test program: 77 and a reason for what the host lacks, 1 for a failure."""
    try:
        sys.exit(main())
    except Skip as why:
        print(f"SKIP: {why}")
        sys.exit(SKIP)
    except Failure as why:
        print(f"not ok: {why}", file=sys.stderr)
        sys.exit(1)
