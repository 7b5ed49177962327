# SPDX-License-Identifier: BSD-2-Clause
"""What the console must never say."""

import re

#: A test during which one of these appears has failed, whatever else it saw.
FORBIDDEN = [
    r"^panic: .*",
    r"^KDB: enter: .*",
    r"^db> ?",
    r"Fatal (double fault|trap \d+).*",
    r"lock order reversal.*",
    r"acquiring duplicate lock.*",
    r"possible recursion of.*",
    r"with the following non-sleepable locks held.*",
    r"[Ss]leeping thread .* owns a non-sleepable lock.*",
    r"exclusive sleep mutex .* held.*",
    r"(exclusive|shared) (sleep mutex|sx|rw|spin mutex|lockmgr|rm) .* r = \d.*",
    r"Sleeping (on|with) .*",
    r"Memory modified after free.*",
    r"Warning: memory type \S+ leaked memory on destroy.*",
    r"Freed UMA keg .* was not empty.*",
    r"KASSERT.*",
    r"KDB: stack backtrace.*",
    r"[Tt]ried to (free|use) .*",
    r"mtx_lock\(\) of destroyed mutex.*",
    r"link_elf_obj: symbol .* undefined.*",
    r"g_vfs_done\(\).*error = \d+",
    r"fsync: giving up on dirty.*",
    r"spin lock held too long.*",
    r"aoe: .*(assertion|invariant|BUG).*",
]

#: Reports that this kernel makes without aoe.ko too, with the reason. Each is the place in the
#: kernel that reports, so that the same words from anywhere else still fail.
BASELINE = [
    # UFS that unmounts itself after an error takes its own two locks in both orders; on any disk.
    r"lock order FFS Lock -> struct mount mtx established at:[\s\S]*ffs_fsfail_cleanup_locked",
    # geli(8) that is suspended and resumed takes memory with its queue locked.
    r"exclusive sleep mutex geli:queue \(geli:queue\)[^\n]*/geom/eli/g_eli",
    # UFS that is unmounted with a snapshot; on any disk.
    r"1st \S+ bufwait \(bufwait, lockmgr\)[^\n]*\n[^\n]*2nd \S+ snaplk \(snaplk, lockmgr\)[^\n]*ffs_snapshot\.c",
]

_forbidden = re.compile("|".join(f"(?:{p})" for p in FORBIDDEN), re.M)


class Scanner:
    """Remembers how far the console has been read."""

    def __init__(self, line):
        self.line, self.at = line, 0

    def complaints(self, allowed=()):
        """The forbidden lines since the last call. `allowed` are regexes that a test expects."""
        text = self.line.since(self.at).replace(b"\r", b"").decode(errors="replace")
        self.at = self.line.mark()
        out = []
        for found in _forbidden.finditer(text):
            begin = text.rfind("\n", 0, found.start()) + 1
            end = text.find("\n", found.end())
            line = text[begin:end if end >= 0 else len(text)].strip()
            around = text[max(0, begin - 200):end + 800]
            known = any(re.search(p, around) for p in BASELINE)
            if not known and not any(re.search(p, line) for p in allowed):
                out.append(line)
        return out
