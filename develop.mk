# SPDX-License-Identifier: BSD-2-Clause
#
# What is done in the project's repository and not in a release; see Makefile.

demo:
	sh scripts/demo

test:
	sh scripts/test

vm-test:
	sh scripts/install-deps base kmod vm
	sh tests/vm/run

bench:
	sh scripts/install-deps base kmod vm bench
	sh tests/bench/run

bench-loss:
	sh scripts/install-deps base kmod vm
	sh tests/bench/run --loss --seconds 1 --repeat 20

dist:
	scripts/release dist

port-release:
	scripts/release port '$(PORTSDIR)' '$(DISTDIR)'

release-values:
	scripts/release values

install-deps:
	sh scripts/install-deps

.PHONY: demo test vm-test bench bench-loss dist port-release release-values install-deps
