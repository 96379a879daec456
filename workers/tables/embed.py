#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py IASL SOURCE.asl NAME OUTPUT.c: compiles ASL and writes the AML as a C array."""
import os
import subprocess
import sys
import tempfile

iasl, source, name, output = sys.argv[1:]
with tempfile.TemporaryDirectory() as work:
    prefix = os.path.join(work, name)
    done = subprocess.run([iasl, "-ve", "-p", prefix, source], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    with open(prefix + ".aml", "rb") as f:
        aml = f.read()
with open(output, "w", encoding="ascii") as out:
    out.write('#include "workers/tables/tables.h"\n')
    out.write(f"const unsigned char aml_{name}[] = {{")
    for i, byte in enumerate(aml):
        out.write(("\n\t" if i % 16 == 0 else " ") + f"{byte:#04x},")
    out.write(f"\n}};\nconst unsigned int aml_{name}_len = sizeof(aml_{name});\n")
