# SPDX-License-Identifier: BSD-2-Clause
"""What a release consists of: which files of the checkout ship, and how Cargo's files look in it.

A release has what is needed to build and install on FreeBSD, and aoectl elsewhere. Tests, models, the fuzzer, the ports
and the cross build stay behind, and with them the crates that only they use.
"""
import os
import pathlib
import re
import subprocess
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"
# The crates of the workspace that ship.
CRATES = ("aoe-wire", "aoe-core", "aoe-os", "aoectl")
FILES = ("CHANGELOG.md", "Cargo.lock", "Cargo.toml", "INSTALL.md", "LICENSE", "Makefile", "SECURITY.md", "devd/aoe.conf",
         "kmod/Makefile", "kmod/bindgen.flags", "kmod/checks/checks.py", "kmod/checks/elf.py",
         "kmod/checks/imported-symbols.txt", "kmod/checks/run.py", "kmod/checks/wire_entry.rs", "kmod/scripts/bindings.sh",
         "kmod/scripts/build.sh", "kmod/scripts/common.sh", "kmod/scripts/rust.sh", "man/aoe.4", "man/aoectl.8", "rc.d/aoe",
         "release.conf", "scripts/install", "sysctl-docs/net.aoe.tsv")
# Folders of which everything ships that has one of these endings; another file there is an error.
FOLDERS = {"kmod/c": (".c",), "kmod/include": (".h",), "kmod/src": (".rs",)}
FOLDERS |= {f"crates/{name}/src": (".rs",) for name in CRATES}
MANIFESTS = tuple(f"crates/{name}/Cargo.toml" for name in CRATES)


class Problem(Exception):
    """Why there is no release."""


def git(*words, **options):
    """The output of a git command in the checkout."""
    try:
        return subprocess.run(["git", "-c", "core.quotepath=off", *words], cwd=ROOT, check=True, capture_output=True,
                              **options).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or b""
        raise Problem(f"git {words[0]}: {said.decode(errors='replace').strip() or error}") from None


class Commit:
    """The files of a commit."""

    def __init__(self, name="HEAD"):
        self.name = git("rev-parse", "--verify", f"{name}^{{commit}}").decode().strip()
        listed = git("ls-tree", "-r", "-z", self.name).decode().split("\0")[:-1]
        self.modes = {line.split("\t", 1)[1]: line.split(" ", 1)[0] for line in listed}
        self.blobs = {line.split("\t", 1)[1]: line.split("\t", 1)[0].split(" ")[2] for line in listed}
        self.data = {}

    def load(self, names):
        """Reads many files by one call of git."""
        said = git("cat-file", "--batch", input="".join(f"{self.blobs[path]}\n" for path in names).encode())
        at = 0
        for path in names:
            end = said.index(b"\n", at)
            size = int(said[at:end].split(b" ")[2])
            self.data[path] = said[end + 1:end + 1 + size]
            at = end + 1 + size + 1

    def read(self, path):
        """The bytes of a file."""
        if path not in self.data:
            self.load([path])
        return self.data[path]


class Worktree:
    """The files that git knows, as they are on the disk now."""

    def __init__(self):
        listed = git("ls-files", "-s", "-z").decode().split("\0")[:-1]
        self.modes = {line.split("\t", 1)[1]: line.split(" ", 1)[0] for line in listed}
        self.modes = {path: mode for path, mode in self.modes.items() if os.path.lexists(ROOT / path)}

    def load(self, names):
        """There is nothing to be gained here."""

    def read(self, path):
        """The bytes of a file."""
        return (ROOT / path).read_bytes()


def release_conf(source):
    """The values of release.conf."""
    values = {}
    for line in source.read("release.conf").decode("ascii").splitlines():
        if line.startswith("#") or not line:
            continue
        match = re.fullmatch(r'(AOE_[A-Z_]+)="([^"$`\\]*)"', line)
        if match is None:
            raise Problem(f"release.conf: this line is not NAME=\"value\": {line}")
        values[match[1]] = match[2]
    wanted = {"AOE_MASTER_SITES", "AOE_WWW", "AOE_MAINTAINER", "AOE_REPORT", "AOE_SECURITY"}
    if values.keys() != wanted:
        raise Problem(f"release.conf: missing or unknown: {' '.join(sorted(values.keys() ^ wanted))}")
    for name in ("AOE_MAINTAINER", "AOE_REPORT", "AOE_SECURITY"):
        if not values[name]:
            raise Problem(f"release.conf: {name} is empty")
    if len(values["AOE_REPORT"]) > 120:
        raise Problem("release.conf: AOE_REPORT does not fit into a line of the console (120 characters)")
    for site in values["AOE_MASTER_SITES"].split():
        if not site.endswith("/"):
            raise Problem(f"release.conf: AOE_MASTER_SITES: {site} has no slash at its end")
    return values


def version(source):
    """The version of the workspace."""
    return tomllib.loads(source.read("Cargo.toml").decode())["workspace"]["package"]["version"]


def chunks(text):
    """A file of TOML in pieces: each section with the comments right above it."""
    found = [[]]
    above = []
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            found.append([*above, line])
            above = []
        elif line.startswith("#"):
            above.append(line)
        else:
            found[-1] += [*above, line]
            above = []
    found[-1] += above
    return ["".join(piece) for piece in found if piece]


def header(chunk):
    """The name of a section."""
    match = re.search(r"^\[+(.*?)\]+$", chunk, re.M)
    return match[1] if match else ""


def crate_manifest(text):
    """The manifest of a crate without what only its tests use."""
    kept = [chunk for chunk in chunks(text) if header(chunk) != "dev-dependencies"]
    return "".join(kept).rstrip("\n") + "\n"


def dependencies(manifest):
    """Names of what a shipped manifest depends on."""
    tables = tomllib.loads(manifest)
    unknown = [name for name in tables if "dependencies" in name and name != "dependencies"] + \
        [name for name in tables if name in ("target", "build", "features")]
    if unknown:
        raise Problem(f"a crate that ships has a section [{unknown[0]}], which scripts/shipped.py does not know")
    return set(tables.get("dependencies", {}))


def root_manifest(text, manifests):
    """The manifest of the workspace for the crates that ship; MANIFESTS are theirs."""
    used = set().union(*(dependencies(manifest) for manifest in manifests))
    kept = []
    for chunk in chunks(text):
        name = header(chunk)
        if name == "workspace":
            chunk = re.sub(r"members = \[\n.*?\]\n",
                           "members = [\n" + "".join(f'\t"crates/{crate}",\n' for crate in CRATES) + "]\n", chunk, flags=re.S)
            chunk = re.sub(r'(?m)^exclude = .*$', 'exclude = ["kmod"]', chunk)
        elif name == "workspace.dependencies":
            lines = [line for line in chunk.splitlines(keepends=True)
                     if "=" not in line or line.split("=")[0].strip() in used]
            chunk = "".join(lines)
        elif name == "profile.cost" or name.startswith("profile.dev.package."):
            continue
        kept.append(chunk)
    return "".join(kept).rstrip("\n") + "\n"


def lock(text, manifests):
    """Cargo.lock for the crates that ship: what they depend on, and what that depends on."""
    packages = tomllib.loads(text)["package"]
    names = {}
    for package in packages:
        names.setdefault(package["name"], []).append(package)

    def find(entry):
        name, _, wanted = entry.partition(" ")
        found = [package for package in names[name] if wanted in ("", package["version"])]
        if len(found) != 1:
            raise Problem(f"Cargo.lock: which package is \"{entry}\"?")
        return found[0]

    direct = {crate: dependencies(manifest) for crate, manifest in zip(CRATES, manifests)}

    def needs(package):
        entries = package.get("dependencies", [])
        if "source" not in package:
            entries = [entry for entry in entries if entry.split(" ")[0] in direct[package["name"]]]
        return entries

    kept, left = [], [find(crate) for crate in CRATES]
    while left:
        package = left.pop()
        if package not in kept:
            kept.append(package)
            left += [find(entry) for entry in needs(package)]
    versions = {}
    for package in kept:
        versions.setdefault(package["name"], []).append(package["version"])

    def written(package):
        lines = ["[[package]]"]
        lines += [f'{key} = "{package[key]}"' for key in ("name", "version", "source", "checksum") if key in package]
        if needs(package):
            # A version is given where there are several, as cargo does.
            entries = [find(entry) for entry in needs(package)]
            words = [entry["name"] if len(versions[entry["name"]]) == 1 else f"{entry['name']} {entry['version']}"
                     for entry in entries]
            lines += ["dependencies = [", *(f' "{word}",' for word in sorted(words)), "]"]
        return "\n".join(lines) + "\n"

    head = text[:text.index("[[package]]")]
    kept = [package for package in packages if package in kept]
    return head + "\n".join(written(package) for package in kept)


def crates(source):
    """Names with versions, and checksums, of the crates of others that a release needs."""
    found = []
    for package in tomllib.loads(files(source)["Cargo.lock"][1].decode())["package"]:
        origin = package.get("source")
        if origin is None:
            continue
        if origin != REGISTRY:
            raise Problem(f"{package['name']}: the ports know no crates from {origin}")
        found.append((f"{package['name']}-{package['version']}", package["checksum"]))
    return found


def paths(source):
    """Names of what ships."""
    found = list(FILES) + list(MANIFESTS)
    for path in source.modes:
        folder = next((folder for folder in FOLDERS if path.startswith(f"{folder}/")), None)
        if folder is None:
            continue
        if not path.endswith(FOLDERS[folder]):
            raise Problem(f"{path}: does it ship? scripts/shipped.py does not say")
        found.append(path)
    missing = [path for path in found if path not in source.modes]
    if missing:
        raise Problem(f"not in git: {' '.join(missing)}")
    odd = [path for path in found if source.modes[path] not in ("100644", "100755")]
    if odd:
        raise Problem(f"no plain files: {' '.join(odd)}")
    return sorted(found)


def files(source):
    """What ships: path -> (mode, bytes)."""
    source.load(paths(source))
    found = {path: (0o755 if source.modes[path] == "100755" else 0o644, source.read(path)) for path in paths(source)}
    manifests = []
    for path in MANIFESTS:
        manifests.append(crate_manifest(found[path][1].decode()))
        found[path] = (found[path][0], manifests[-1].encode())
    for path, change in (("Cargo.toml", root_manifest), ("Cargo.lock", lock)):
        found[path] = (found[path][0], change(found[path][1].decode(), manifests).encode())
    return found
