#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command `bulkhead` against mgmtd with a fake broker: what it prints, and its exit statuses."""
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mgmtd"))
from stack import BULKHEAD, Stack       # pylint: disable=wrong-import-position

# As documented in bulkhead(1).
OK, FAILED, USAGE, UNREACHABLE, DENIED, NOT_FOUND, STATE, TIMEOUT = range(8)


class Base(unittest.TestCase):
    def bh(self, *args, status=OK, **more):
        """Runs the command, expects the exit status, returns what it printed."""
        done = STACK.run(*args, **more)
        self.assertEqual(done.returncode, status, f"{args}: {done.stdout}{done.stderr}")
        if status != OK:
            self.assertTrue(done.stderr.startswith("bulkhead"), done.stderr)
        return done.stdout if status == OK else done.stderr

    def json(self, *args, **more):
        return json.loads(self.bh("--json", *args, **more))

    def make(self, name, *options):
        self.bh("create", name, "--kernel", STACK.path("kernel"), "--memory", "64M", *options)
        self.addCleanup(self.remove, name)

    def remove(self, name):
        STACK.run("off", name)
        STACK.run("delete", name)


class Machines(Base):
    def test_create_list_show_delete(self):
        self.make("web1", "--vcpus", "2", "--cmdline", 'console=ttyS0 quote="<&>"',
                  "--on-reboot", "off", "--backend", "emu")
        self.assertRegex(self.bh("list"), r"web1 +Off +64 MiB +2 +emu +-")
        vm = self.json("show", "web1")
        self.assertEqual((vm["name"], vm["state"], vm["memory_bytes"], vm["vcpus"],
                          vm["backend_wanted"], vm["cmdline"], vm["on_reboot"]),
                         ("web1", "Off", 64 << 20, 2, "emu", 'console=ttyS0 quote="<&>"', "off"))
        self.assertIn("web1", [v["name"] for v in self.json("list")["vms"]])
        self.bh("delete", "web1")
        self.assertNotIn("web1", self.bh("list"))

    def test_values(self):
        self.make("told")
        self.bh("values", "told", "set", "role", "a <\"&\"> database")
        self.bh("values", "told", "set", "zone", "")
        self.bh("values", "told", "set", "role", "web server")
        shown = self.bh("values", "told")
        self.assertRegex(shown, r"host +role +web server")
        self.assertRegex(shown, r"host +zone")
        self.assertIn('<value key="role">web server</value>', self.bh("export", "told"))
        self.assertIn("told", self.json("values", "told", "remove", "zone")["name"])
        self.assertEqual(self.json("values", "told")["host_values"],
                         [{"key": "role", "value": "web server"}])
        self.bh("values", "told", "remove", "zone", status=NOT_FOUND)
        self.bh("values", "nobody", status=NOT_FOUND)
        for key, value in (("a b", "x"), ("", "x"), ("k", "two\nlines"), ("k", " x"),
                           ("k" * 64, "x"), ("k", "v" * 448)):
            self.bh("values", "told", "set", key, value, status=FAILED)
        self.bh("values", "told", "put", "k", "v", status=USAGE)
        for i in range(15):
            self.bh("values", "told", "set", f"k{i}", "x")
        self.assertIn("more than 16", self.bh("values", "told", "set", "k15", "x", status=FAILED))

    def test_the_whole_life(self):
        self.make("life")
        self.bh("start", "life")
        shown = self.bh("show", "life")
        self.assertRegex(shown, r"state: +Running")
        self.assertRegex(shown, r"partition +1000 +60000 +0 +12 +none .*seccomp")
        self.assertRegex(shown, r"worker +1001 +60000")
        self.assertEqual([p["role"] for p in self.json("show", "life")["processes"]],
                         ["partition", "worker"])
        self.bh("pause", "life")
        self.assertEqual(self.json("show", "life")["state"], "Paused")
        self.bh("resume", "life")
        self.bh("reset", "life")
        self.assertEqual(self.json("show", "life")["state"], "Running")
        self.bh("off", "life")
        self.assertEqual(self.json("show", "life")["state"], "Off")
        self.assertIn("turned off by admin", self.bh("events", "--vm", "life"))

    def test_create_and_start_in_one(self):
        job = self.json("create", "now", "--start", "--kernel", STACK.path("kernel"))
        self.addCleanup(self.remove, "now")
        self.assertEqual((job["kind"], job["state"]), ("start", "done"))
        self.assertEqual(self.json("show", "now")["state"], "Running")

    def test_disk_commands_need_no_server(self):
        self.assertEqual(STACK.run("disk", "nonsense", BULKHEAD_SERVER="ipc:///no").returncode, 2)

    def test_export_gives_what_create_and_define_take(self):
        self.make("orig", "--vcpus", "3")
        text = self.bh("export", "orig")
        path = STACK.path("orig.vmc")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("<vcpus>3<", "<vcpus>4<"))
        self.assertIn("orig", self.bh("create", "--file", path, status=STATE))
        self.bh("define", path)
        self.assertEqual(self.json("show", "orig")["vcpus"], 4)
        self.bh("start", "orig")
        self.assertIn("Off", self.bh("define", path, status=STATE))
        self.bh("off", "orig")
        self.bh("delete", "orig")
        self.bh("create", "--file", path)
        self.assertEqual(self.bh("export", "orig").replace("<vcpus>4<", "<vcpus>3<"), text)

    def test_several_at_once_and_the_first_failure_is_the_status(self):
        self.make("m1")
        self.make("m2")
        self.bh("start", "m1", "nosuch", "m2", status=NOT_FOUND)
        self.assertEqual(self.json("show", "m2")["state"], "Running")


class Wrong(Base):
    def test_usage(self):
        for args in ((), ("nonsense",), ("--nonsense",), ("list", "x"), ("show",), ("start",),
                     ("create", "x"), ("create", "a b", "--kernel", "/etc/passwd"),
                     ("create", "x", "--kernel", "/etc/passwd", "--memory", "lots"),
                     ("create", "x", "--kernel", "/etc/passwd", "--memory", "1M"),
                     ("create", "x", "--kernel", "/etc/passwd", "--memory", "100T"),
                     ("create", "x", "--kernel", "/etc/passwd", "--vcpus", "0"),
                     ("create", "x", "--kernel", "/etc/passwd", "--vcpus", "4000"),
                     ("create", "x", "--kernel", "/etc/passwd", "--backend", "xen"),
                     ("create", "--file", "x", "--vcpus", "2"), ("--timeout", "soon", "list"),
                     ("console", "x", "--send", "\\q"), ("keys", "add", "x")):
            done = STACK.run(*args)
            self.assertEqual(done.returncode, USAGE, f"{args}: {done.stderr}")
        self.assertEqual(self.json("list")["vms"], [])

    def test_what_is_not_there(self):
        self.assertIn('"nosuch"', self.bh("show", "nosuch", status=NOT_FOUND))
        self.bh("start", "nosuch", status=NOT_FOUND)
        self.bh("create", "x", "--kernel", "/no/such/kernel", status=NOT_FOUND)
        self.bh("create", "--file", "/no/such.vmc", status=NOT_FOUND)

    def test_states(self):
        self.make("off1")
        self.assertIn("Off", self.bh("pause", "off1", status=STATE))
        self.bh("create", "off1", "--kernel", STACK.path("kernel"), status=STATE)

    def test_a_wrong_definition_names_file_line_column_and_element(self):
        path = STACK.path("wrong.vmc")
        with open(path, "w", encoding="utf-8") as f:
            f.write('<machine version="1">\n  <name>w</name>\n  <memory>1</memory>\n</machine>\n')
        said = self.bh("create", "--file", path, status=FAILED)
        self.assertIn("wrong.vmc:3:3, element <memory>: 1 MiB of memory; it must be 4 MiB", said)

    def test_a_huge_definition_is_not_even_read(self):
        path = STACK.path("huge.vmc")
        with open(path, "wb") as f:
            f.truncate(1 << 30)
        self.assertIn("larger than a definition may be",
                      self.bh("create", "--file", path, status=FAILED))

    def test_a_failed_start_says_why(self):
        self.make("bad", "--cmdline", "fail-load")
        self.assertIn("the kernel is not one", self.bh("start", "bad", status=FAILED))
        os.unlink(STACK.path("kernel"))
        try:
            said = self.bh("start", "bad", status=NOT_FOUND)
            self.assertIn(STACK.path("kernel"), said)
        finally:
            with open(STACK.path("kernel"), "w", encoding="utf-8") as f:
                f.write("a kernel")

    def test_errors_in_json(self):
        done = STACK.run("--json", "show", "nosuch")
        self.assertEqual(done.returncode, NOT_FOUND)
        self.assertEqual(json.loads(done.stdout)["error"]["code"], "not_found")

    def test_no_server(self):
        said = self.bh("--server", "ipc:///no/such/api", "list", status=UNREACHABLE)
        self.assertIn("/no/such/api", said)
        said = self.bh("--server", "tcp://127.0.0.1:1", "--server-key", STACK.path("run/server.pub"),
                       "--timeout", "5", "list", status=UNREACHABLE)
        self.assertIn("cannot reach", said)


class Keys(Base):
    def test_a_wrong_key_is_refused_soon_and_clearly(self):
        path = STACK.path("stranger.key")
        self.bh("keys", "generate", path)
        began = time.monotonic()
        said = self.bh("--key", path, "list", status=DENIED)
        self.assertLess(time.monotonic() - began, 10)
        self.assertIn("the server does not know this key", said)
        self.assertIn("api.unknown-key", self.bh("events"))

    def test_another_server_key_is_an_error_of_its_own(self):
        path = STACK.path("other-server.key")
        self.bh("keys", "generate", path)
        said = self.bh("--server-key", path, "--timeout", "10", "list", status=DENIED)
        self.assertIn("not the server that we expect", said)

    def test_generate_add_use_remove(self):
        path = STACK.path("vera.key")
        public = self.bh("keys", "generate", path).strip()
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.bh("keys", "generate", path, status=STATE)
        self.bh("keys", "add", "vera", path, "view")
        row = next(r.split() for r in self.bh("keys", "list").splitlines() if "vera" in r)
        self.assertEqual(row, ["vera", "view", public])
        self.assertIn("you are vera (view)", self.bh("--key", path, "version"))
        self.assertIn("vera", self.bh("--key", path, "keys", "list", status=DENIED))
        self.bh("keys", "add", "vera", public, status=STATE)
        self.bh("keys", "remove", "vera")
        self.bh("--key", path, "list", status=DENIED)
        self.bh("keys", "remove", "vera", status=NOT_FOUND)

    def test_no_key_to_be_found(self):
        said = self.bh("list", status=DENIED, BULKHEAD_STATE_DIR="/nonexistent")
        self.assertIn("/nonexistent/keys/admin.key", said)


class Json(Base):
    def test_everything_is_valid(self):
        self.make("j1", "--cmdline", 'a="b\\c" \t')
        self.bh("start", "j1")
        for args in (("list",), ("show", "j1"), ("host",), ("jobs",), ("keys", "list"),
                     ("version",), ("export", "j1"), ("pause", "j1"), ("off", "j1")):
            json.loads(self.bh("--json", *args))
        events = self.json("events")["events"]
        self.assertTrue(any(e["kind"] == "vm.running" and e["vm"] == "j1" for e in events))
        self.assertEqual(sorted(events, key=lambda e: e["id"]), events)
        self.json("keys", "generate", STACK.path("json.key"))
        self.json("keys", "add", "json", STACK.path("json.key"))
        self.json("keys", "remove", "json")
        host = self.json("host")
        self.assertEqual((host["backend_auto"], host["backend_reason"]), ("emu", "this is a test"))
        self.assertIn("no_new_privs", host["mgmtd_confinement"])


class Events(Base):
    def test_follow_shows_what_happens_from_now_on(self):
        self.make("f1")
        with subprocess.Popen([BULKHEAD, "events", "--follow", "--last", "1"], text=True,
                              stdout=subprocess.PIPE, env=STACK.environment()) as follower:
            follower.stdout.readline()
            self.bh("start", "f1")
            self.assertIn("vm.running", follower.stdout.readline())
            self.bh("off", "f1")
            self.assertIn("vm.off", follower.stdout.readline())
            follower.terminate()

    def test_jobs_are_listed(self):
        self.make("job1")
        self.bh("start", "job1")
        self.assertRegex(self.bh("jobs"), r"admin +job1 +start +done")
        self.bh("jobs", "cancel", "999999", status=NOT_FOUND)


class Console(Base):
    def test_expect_and_send(self):
        self.make("c1")
        self.bh("start", "c1")
        out = self.bh("console", "c1", "--expect", "guest\\n", "--send", "one\\n",
                      "--expect", "heard: one", "--send", "\\x74wo\\n", "--until", "heard: two",
                      "--timeout", "20")
        self.assertEqual(out.split(), "hello from the guest heard: one heard: two".split())

    def test_what_does_not_come_is_a_timeout(self):
        self.make("c2")
        self.bh("start", "c2")
        said = self.bh("console", "c2", "--until", "never", "--timeout", "1", status=TIMEOUT)
        self.assertIn('"never"', said)

    def test_pipes(self):
        self.make("c3")
        self.bh("start", "c3")
        out = self.bh("console", "c3", stdin="hello\nflood 20000\npoweroff\n")
        self.assertIn("heard: hello\n", out)
        self.assertEqual(out.count("x"), 20000)
        self.assertTrue(out.endswith("good night\n"), out[-100:])

    def test_start_with_console_ends_with_the_machine(self):
        self.make("c4")
        done = STACK.run("start", "--console", "c4", stdin="exit 3\n")
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertIn("hello from the guest", done.stdout)
        self.assertEqual(self.json("show", "c4")["exit_value"], 3)
        self.make("c5", "--cmdline", "fail-load")
        self.assertIn("the kernel is not one", self.bh("start", "c5", "--console", status=FAILED))

    def test_input_that_comes_before_the_console_is_there_is_not_lost(self):
        self.make("c8", "--cmdline", "slow-create")
        done = STACK.run("start", "--console", "c8", stdin="exit 3\n")
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertEqual(self.json("show", "c8")["exit_value"], 3)

    def test_the_console_of_a_machine_that_is_off_shows_its_last_words(self):
        self.make("c6")
        self.bh("start", "c6")
        self.bh("console", "c6", stdin="poweroff\n")
        self.assertIn("good night", self.bh("console", "c6"))
        self.bh("console", "c6", "--until", "never", status=FAILED)

    def test_a_missing_port(self):
        self.make("c7")
        self.bh("console", "c7", "--port", "1", status=NOT_FOUND)

    def on_terminal(self, name):
        """A console on a pseudo-terminal: (process, master side)."""
        master, slave = pty.openpty()
        # pylint: disable=consider-using-with
        process = subprocess.Popen([BULKHEAD, "console", name], stdin=slave, stdout=slave,
                                   stderr=slave, env=STACK.environment(), start_new_session=True)
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        return process, master, slave

    @staticmethod
    def read_until(fd, text, seconds=20):
        seen, deadline = b"", time.monotonic() + seconds
        while text not in seen and time.monotonic() < deadline:
            if select.select([fd], [], [], 0.2)[0]:
                seen += os.read(fd, 4096)
        return seen

    def test_on_a_terminal_it_is_raw_and_ctrl_bracket_leaves_and_restores_it(self):
        self.make("t1")
        self.bh("start", "t1")
        for leave in ("ctrl-]", "signal"):
            process, master, slave = self.on_terminal("t1")
            before = termios.tcgetattr(slave)
            self.assertIn(b"hello", self.read_until(master, b"hello"))
            self.assertFalse(termios.tcgetattr(slave)[3] & (termios.ICANON | termios.ISIG))
            os.write(master, b"typed\r")
            self.assertIn(b"heard: typed", self.read_until(master, b"heard: typed"))
            os.write(master, b"\x03\r")   # Ctrl-C goes to the guest
            self.assertIn(b"heard: \x03", self.read_until(master, b"heard: \x03"))
            if leave == "signal":
                process.send_signal(signal.SIGTERM)
            else:
                os.write(master, b"\x1d")
            status = process.wait(20)
            self.assertEqual(status, OK if leave == "ctrl-]" else 128 + signal.SIGTERM)
            self.assertEqual(termios.tcgetattr(slave), before)
        self.assertEqual(self.json("show", "t1")["state"], "Running")


if __name__ == "__main__":
    STACK = Stack()
    try:
        STACK.start()
        program = unittest.main(exit=False, verbosity=1)
    finally:
        STACK.stop()
    raise SystemExit(0 if program.result.wasSuccessful() else 1)
