#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Proves that each check can fail: plants one fault after the other and sees it reported, and sees
a clean object pass.  usage: planted.py [ARCH...]

Environment: CC, LD, OBJDUMP, RUSTC and AR, as scripts/tools.sh writes them; AOE_RUST_CACHE.
"""

import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import checks
import elf as elffile

HERE = os.path.dirname(os.path.abspath(__file__))
CC = os.environ.get("CC", "clang")
LD = os.environ.get("LD", "ld.lld")
OBJDUMP = os.environ.get("OBJDUMP", "llvm-objdump")

KERNEL_FLAGS = {
    "amd64": "-target x86_64-unknown-freebsd15.0 -mcmodel=kernel -mno-red-zone -mno-mmx -mno-sse "
             "-msoft-float -fno-pic",
    "aarch64": "-target aarch64-unknown-freebsd15.0 -fPIC -mgeneral-regs-only -ffixed-x18 "
               "-mbranch-protection=standard",
}
# The same without the words that keep the kernel's registers safe.
USER_FLAGS = {
    "amd64": "-target x86_64-unknown-freebsd15.0 -fno-pic",
    "aarch64": "-target aarch64-unknown-freebsd15.0 -fPIC",
}

CLEAN = """
int printf(const char *, ...);
static int (*table[])(const char *, ...) = { printf };
int clean(int n);
int clean(int n) { return (table[n & 0]("clean") + n); }
"""


class SelfTest:
    def __init__(self, arch, folder):
        self.arch = arch
        self.folder = folder
        self.failures = 0

    def compile(self, source, flags=None, extra=""):
        path = os.path.join(self.folder, "planted.c")
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        out = os.path.join(self.folder, "planted.o")
        flags = flags or KERNEL_FLAGS[self.arch]
        subprocess.run([CC, "-c", "-O2", "-ffreestanding", "-fno-common", "-fstack-size-section",
                        "-std=gnu99", *flags.split(), *extra.split(), path, "-o", out], check=True)
        return out

    def link(self, objectfile):
        """As the module is linked: a shared object on aarch64."""
        if self.arch == "amd64":
            return objectfile
        out = os.path.join(self.folder, "planted.ko")
        subprocess.run([LD, "-m", "aarch64elf", "-Bshareable", "-znotext", "-o", out, objectfile],
                       check=True)
        return out

    def rust(self, body):
        path = os.path.join(self.folder, "planted.rs")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#![no_std]\n#![allow(unused_variables)]\nunsafe extern \"C\" { fn aoe_check_panicked() -> !; }\n"
                       "#[panic_handler] fn panic(_: &core::panic::PanicInfo<'_>) -> ! "
                       "{ unsafe { aoe_check_panicked() } }\n" + body)
        out = os.path.join(self.folder, "planted.o")
        script = os.path.join(HERE, "..", "scripts", "rust.sh")
        subprocess.run(["sh", script, self.arch, "-", self.folder, out, path], check=True,
                       stdout=subprocess.DEVNULL)
        return out

    def expect(self, what, complaints, text=None):
        """`text` is what the complaint must say; None: there must be none."""
        if text is None:
            good = not complaints
        else:
            good = any(text in complaint for complaint in complaints)
        self.failures += not good
        print(f"selftest {self.arch} {'ok  ' if good else 'FAIL'} {what}")
        if not good:
            print(f"    expected {text!r}, found {complaints}")

    def run(self):
        clean = self.compile(CLEAN)
        linked = self.link(clean)
        module = elffile.read(linked)
        self.expect("clean: imports", checks.imports(module, {"printf"}))
        self.expect("clean: relocations", checks.relocations(module))
        self.expect("clean: registers", checks.registers(OBJDUMP, linked, self.arch))
        self.expect("clean: x18", checks.x18(OBJDUMP, linked, self.arch, may_read=False))
        self.expect("clean: frames", checks.frames(OBJDUMP, clean)[0])
        self.expect("an import that is not listed", checks.imports(module, {"puts"}), "printf")
        self.relocations()
        self.registers()
        self.frames()
        self.panics()
        return self.failures

    def relocations(self):
        if self.arch == "amd64":
            # A call through the global offset table; 32 bits without sign.
            faults = (("extern int far(void); int f(void); int f(void) { return (far()); }",
                       "-fno-plt -fPIC", "GOTPCREL"),
                      ('__asm__(".section .data\\n.long elsewhere\\n");', "", "R_X86_64_32 "))
        else:
            faults = (("extern __thread int t; int f(void); int f(void) { return (t); }",
                       "", "R_AARCH64_TLS"),)
        for source, flags, text in faults:
            module = elffile.read(self.link(self.compile(source, extra=flags)))
            self.expect(f"a relocation of kind {text.strip()}", checks.relocations(module), text)

    def registers(self):
        double = "double f(double a); double f(double a) { return (a * 3.5); }"
        copy = ("struct s { long a[4]; }; void f(struct s *, struct s *);"
                "void f(struct s *a, struct s *b) { *a = *b; }")
        for what, source in (("floating point", double), ("a structure copied by vector", copy)):
            path = self.compile(source, USER_FLAGS[self.arch])
            self.expect(what, checks.registers(OBJDUMP, path, self.arch), "f: floating-point")
        if self.arch == "amd64":
            path = self.compile("long double f(long double a);"
                                "long double f(long double a) { return (a * a); }",
                                USER_FLAGS["amd64"] + " -mno-sse")
            self.expect("x87", checks.registers(OBJDUMP, path, self.arch), "f: floating-point")
            path = self.compile("void f(void); void f(void) { __asm__ volatile(\"fninit\"); }")
            self.expect("an x87 instruction without operands",
                        checks.registers(OBJDUMP, path, self.arch), "fninit")
            return
        for text, readable in (("mov x18, x0", False), ("ldr x18, [x0]", False),
                               ("str x0, [x18], #8", False), ("ldp x1, x18, [x18]", False),
                               ("add x18, x18, #1", False), ("ldr x0, [x18, #16]", True),
                               ("str x1, [x18]", True), ("mov x3, x18", True)):
            path = self.compile(f"void f(void); void f(void) {{ __asm__ volatile(\"{text}\"); }}")
            self.expect(f"{text}, in Rust", checks.x18(OBJDUMP, path, self.arch, False), "x18")
            self.expect(f"{text}, in C", checks.x18(OBJDUMP, path, self.arch, True),
                        None if readable else "x18")

    def frames(self):
        use = "void use(char *); void f(int n);"
        path = self.compile(use + "void f(int n) { char b[1024]; b[0] = n; use(b); }")
        self.expect("a frame of 1 KiB", checks.frames(OBJDUMP, path)[0], "f: a frame of")
        self.expect("stack taken at once", checks.frames(OBJDUMP, path)[0], "bytes of stack at once")
        path = self.compile(use + "void f(int n) { char b[900]; b[0] = n; use(b); }")
        self.expect("a frame of 900 bytes", checks.frames(OBJDUMP, path)[0])
        path = self.compile(use + "void f(int n) { char b[n]; b[0] = n; use(b); }")
        self.expect("a frame of any size", checks.frames(OBJDUMP, path)[0], "no known size")

    def panics(self):
        entry = "#[unsafe(no_mangle)] pub fn aoe_check_f(b: &[u8], at: usize) -> u8 "
        faults = {
            "an index": "{ b[at] }",
            "a slice": "{ b[at..].len() as u8 }",
            "an unwrap": "{ *b.get(at).unwrap() }",
            "a copy of unequal lengths":
                "{ let mut x = [0; 4]; x.copy_from_slice(b); core::hint::black_box(x)[0] }",
            "a division": "{ (at / b.len()) as u8 }",
            "a panic behind a pointer":
                "{ fn bad(b: &[u8]) -> u8 { b[7] } fn good(b: &[u8]) -> u8 { b.len() as u8 }\n"
                "  static T: [fn(&[u8]) -> u8; 2] = [bad, good];\n"
                "  core::hint::black_box(&T).get(at).map_or(0, |f| f(b)) }",
        }
        for what, body in faults.items():
            complaints, _ = checks.panics(self.rust(entry + body), "aoe_check_")
            self.expect(f"a panic from {what}", complaints, "aoe_check_f ->")
        complaints, _ = checks.panics(
            self.rust(entry + "{ b.get(at).copied().unwrap_or(0) }"), "aoe_check_")
        self.expect("clean: panics", complaints)
        complaints, _ = checks.panics(self.compile(CLEAN), "aoe_check_")
        self.expect("an object without entry points", complaints, "no function named")


def main(architectures):
    failures = 0
    for arch in architectures or ["amd64", "aarch64"]:
        with tempfile.TemporaryDirectory() as folder:
            failures += SelfTest(arch, folder).run()
    print(f"selftest: {failures} failures" if failures else "selftest: every check can fail")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
