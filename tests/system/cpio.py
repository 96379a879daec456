# SPDX-License-Identifier: Apache-2.0
"""Archives for an initramfs (Linux, Documentation/driver-api/early-userspace/buffer-format.rst)."""
import io
import os
import stat


class Cpio:
    """A cpio archive in the "newc" format."""

    def __init__(self):
        self.out = io.BytesIO()
        self.inode = 0

    def add(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        self.out.write(b"070701" + b"".join(b"%08X" % f for f in fields))
        self.pad(name.encode() + b"\0")
        self.pad(data)

    def pad(self, data):
        self.out.write(data)
        self.out.write(b"\0" * (-self.out.tell() % 4))

    def finish(self):
        self.inode = -1
        self.add("TRAILER!!!", 0)
        return self.out.getvalue()


def with_programs(initrd, path, *programs):
    """Writes an initramfs and a second archive behind it, with programs in the guest's root."""
    cpio = Cpio()
    for program in programs:
        with open(program, "rb") as f:
            cpio.add(os.path.basename(program), stat.S_IFREG | 0o755, f.read())
    with open(initrd, "rb") as f:
        first = f.read()
    with open(path, "wb") as f:
        f.write(first + b"\0" * (-len(first) % 4) + cpio.finish())
    return path
