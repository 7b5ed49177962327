#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: tools.sh BUILD
#
# Finds the tools of a cross build, bringing what is missing: Debian's packages
# by apt, bindgen from crates.io.  Writes BUILD/tools/env, which cross.sh reads.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

build=$1
bindgen_version=0.72.1
mkdir -p "$build/tools"
exec 9>"$build/tools/.lock"
flock 9

# newest TOOL: the newest installed version of an LLVM tool, 14 or later.
newest()
{
	for _v in 22 21 20 19 18 17 16 15 14; do
		first_command "$1-$_v" && return 0
	done
	command -v "$1" 2>/dev/null
}

complete()
{
	newest clang >/dev/null && newest ld.lld >/dev/null &&
	    newest llvm-objcopy >/dev/null && find_rustc >/dev/null &&
	    { [ -f /usr/include/ck_queue.h ] || [ -n "${SYSDIR:-}" ]; } &&
	    first_command python3 >/dev/null && first_command cargo >/dev/null
}

if ! complete; then
	"$(dirname "$(dirname "$here")")/scripts/install-deps" kmod
	complete || die "tools are missing, see CONTRIBUTING.md"
fi

CC=${CC:-$(newest clang)}
# Tools of one LLVM: what its clang writes its linker surely reads.
suffix=${CC##*clang}
LD=$(first_command "ld.lld$suffix" || newest ld.lld)
AR=$(first_command "llvm-ar$suffix" || newest llvm-ar)
NM=$(first_command "llvm-nm$suffix" || newest llvm-nm)
OBJCOPY=$(first_command "llvm-objcopy$suffix" || newest llvm-objcopy)
OBJDUMP=$(first_command "llvm-objdump$suffix" || newest llvm-objdump)
READELF=$(first_command "llvm-readelf$suffix" || newest llvm-readelf)
RUSTC=$(find_rustc)

BINDGEN=${BINDGEN:-$build/tools/bin/bindgen}
if [ ! -x "$BINDGEN" ] ||
    [ "$("$BINDGEN" --version)" != "bindgen $bindgen_version" ]; then
	echo "cargo install bindgen-cli $bindgen_version"
	cargo install bindgen-cli --version "$bindgen_version" --locked --quiet --debug \
	    --no-default-features --features runtime,prettyplease \
	    --root "$build/tools" --target-dir "$build/tools/target"
	rm -rf "$build/tools/target"
	BINDGEN=$build/tools/bin/bindgen
fi

for _tool in CC LD AR NM OBJCOPY OBJDUMP READELF RUSTC BINDGEN; do
	eval "echo \"export $_tool='\$$_tool'\""
done > "$build/tools/env.new"
mv "$build/tools/env.new" "$build/tools/env"
