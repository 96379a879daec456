#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Python program in docs/api.md does what it says."""
import os
import re
import shutil
import subprocess
import sys

from stack import Stack

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
PYTHON = "/usr/bin/python3"     # the one that Debian's packages are for


def main():
    lacks = [] if shutil.which("protoc") else ["protobuf-compiler"]
    for module, package in (("zmq", "python3-zmq"), ("google.protobuf", "python3-protobuf")):
        if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True,
                          check=False).returncode:
            lacks.append(package)
    if lacks:
        print("SKIP: the host lacks " + ", ".join(lacks))
        return 77
    with open(os.path.join(TOP, "docs", "api.md"), encoding="utf-8") as f:
        program = re.search(r"```python\n(.*?)```", f.read(), re.S).group(1)
    stack = Stack()
    try:
        stack.start()
        for old, new in (("/run/bulkhead", stack.path("run")),
                         ("/var/lib/bulkhead", stack.path("state"))):
            assert old in program
            program = program.replace(old, new)
        stack.run("create", "doc1", "--kernel", stack.path("kernel"))
        subprocess.run(["protoc", "--python_out=" + stack.dir, "-I", os.path.join(TOP, "proto"),
                        "api.proto"], check=True)
        done = subprocess.run([PYTHON, "-c", program], cwd=stack.dir, capture_output=True,
                              text=True, timeout=60, check=False)
        print(done.stdout + done.stderr)
        return 0 if done.returncode == 0 and \
            done.stdout == "doc1 Running\nhello from the guest\n" else 1
    finally:
        stack.stop()


if __name__ == "__main__":
    sys.exit(main())
