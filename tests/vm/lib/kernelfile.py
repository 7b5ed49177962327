# SPDX-License-Identifier: BSD-2-Clause
"""What a kernel file says of itself: for which system must a module be built that fits it?"""

import struct

from .util import HarnessError

#: First release of each series whose headers `make kmod` gets by itself. A module built for it fits
#: every later kernel of the series.
FIRST_RELEASE = {14: 1400097, 15: 1500068}
#: Development versions that `make kmod` knows the differences of.
KNOWN_DEVELOPMENT = {1500026}


def osreldate(path):
    """The kernel's __FreeBSD_version, read from its symbol `osreldate`."""
    with open(path, "rb") as f:
        data = f.read()
    if data[:6] != b"\x7fELF\x02\x01":
        raise HarnessError(f"{path} is no 64-bit ELF file: no kernel")
    sections = _sections(data)
    for kind, _, offset, size, link in sections:
        if kind not in (2, 11):     # SHT_SYMTAB, SHT_DYNSYM
            continue
        strings = sections[link][2]
        for at in range(offset, offset + size, 24):
            name, _, _, index, value, length = struct.unpack_from("<IBBHQQ", data, at)
            end = data.index(b"\0", strings + name)
            if data[strings + name:end] == b"osreldate" and length == 4 and index < len(sections):
                _, address, start, _, _ = sections[index]
                return struct.unpack_from("<I", data, start + value - address)[0]
    raise HarnessError(f"{path} has no symbol osreldate: no FreeBSD kernel, or one without symbols")


def _sections(data):
    table, = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    result = []
    for n in range(count):
        _, kind, _, address, offset, length, link = struct.unpack_from("<IIQQQQI", data, table + n * size)
        result.append((kind, address, offset, length, link))
    return result


def packaged_version(path):
    """The OSVERSION whose packaged headers fit this kernel."""
    version = osreldate(path)
    if version in KNOWN_DEVELOPMENT:
        return version
    first = FIRST_RELEASE.get(version // 100000)
    if first is None or version < first:
        raise HarnessError(
            f"{path} is version {version} of FreeBSD, which is no release that 'make kmod' has headers of. The "
            "layout of kernel structures differs between such versions, so the module must be built against the "
            "kernel's own sources: set AOE_VM_SYSDIR (and AOE_VM_KERNBUILDDIR), or AOE_VM_KO for a finished module")
    return first
