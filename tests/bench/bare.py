# SPDX-License-Identifier: Apache-2.0
"""The bare-metal guest `compute` under bulkhead, under Bochs, and its work on the host itself."""
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time

ROUNDS = 3000
SECTOR, CYLINDER = 512, 16 * 63 * 512


def ours(build, engine):
    """Seconds from "begin" to "end", as the harness's clock has them; engine None: the default."""
    environment = {**os.environ, **({"BULKHEAD_EMU_ENGINE": engine} if engine else {})}
    result = subprocess.run(
        [os.path.join(build, "tests/guest/run"), "--backend", "emu", "--build", build, "--stamps",
         "--timeout", "120", "--cmdline", f"rounds={ROUNDS}", "--expect", "begin", "--expect", "end ",
         os.path.join(build, "tests/guest/compute.elf")],
        env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    # The guest exits at once: its exit may be seen before the line "end".
    began = re.search(r'run: "begin" \(([\d.]+) s\)', result.stdout)
    ended = re.search(r'run: (?:"end "|guest exit 0) \(([\d.]+) s\)', result.stdout)
    if not began or not ended:
        raise RuntimeError(f"compute did not run: {result.stdout[-500:]}")
    return float(ended[1]) - float(began[1])


def native(build):
    began = time.monotonic()
    subprocess.run([os.path.join(build, "tests/bench/compute.bin"), str(ROUNDS)], check=True,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def disk(build, path):
    """A disk image: the boot sector, and the guest as a flat image behind it."""
    elf = os.path.join(build, "tests/guest/compute.elf64")
    with open(elf, "rb") as f:
        entry = struct.unpack_from("<Q", f.read(64), 24)[0]
    flat = path + ".flat"
    subprocess.run(["objcopy", "-O", "binary", elf, flat], check=True)
    with open(flat, "rb") as f:
        kernel = f.read()
    with open(os.path.join(build, "tests/bench/disk_loader.bin"), "rb") as f:
        loader = bytearray(f.read(SECTOR))
    if len(kernel) > 6 * 64 * SECTOR:
        raise RuntimeError(f"{elf} is too large for disk_loader.S: {len(kernel)} bytes")
    command = f"rounds={ROUNDS}".encode() + b"\0"
    loader[400:400 + len(command)] = command
    struct.pack_into("<I", loader, 500, entry)
    with open(path, "wb") as f:
        f.write(loader + kernel)
        f.truncate(4 * CYLINDER)


def bochs(build):
    """Seconds as seen in its serial port's file; None without Bochs."""
    if not shutil.which("bochs"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        image, serial = os.path.join(folder, "disk"), os.path.join(folder, "serial")
        disk(build, image)
        rc = os.path.join(folder, "bochsrc")
        with open(rc, "w", encoding="utf-8") as f:
            f.write(f"""romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
display_library: rfb, options="timeout=0"
megs: 64
cpu: model=corei7_haswell_4770, count=1, ips=100000000, reset_on_triple_fault=0
clock: sync=none
ata0-master: type=disk, path="{image}", mode=flat, cylinders=4, heads=16, spt=63
boot: disk
com1: enabled=1, mode=file, dev="{serial}"
log: {folder}/log
panic: action=fatal
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
""")
        process = subprocess.Popen(["bochs", "-q", "-f", rc], stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        # Debian's Bochs is built with its debugger, which waits for "continue".
        process.stdin.write(b"c\n")
        process.stdin.flush()
        seen, limit = {}, time.monotonic() + 180
        try:
            while "end" not in seen and time.monotonic() < limit and process.poll() is None:
                text = open(serial, encoding="utf-8", errors="replace").read() \
                    if os.path.exists(serial) else ""
                for word in ("begin", "end"):
                    if word in text:
                        seen.setdefault(word, time.monotonic())
                time.sleep(0.005)
        finally:
            process.kill()
            process.wait()
        if len(seen) != 2:
            with open(os.path.join(folder, "log"), encoding="utf-8", errors="replace") as f:
                raise RuntimeError(f"Bochs did not run the guest: {f.read()[-1500:]}")
        return seen["end"] - seen["begin"]
