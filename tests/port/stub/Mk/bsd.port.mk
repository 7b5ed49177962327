# SPDX-License-Identifier: BSD-2-Clause
#
# STUB.  This is NOT the ports framework: it is the little of it that the port in
# port/ uses, so that the port can be parsed, staged and installed where there is
# no ports tree.  What it cannot do is fetch, unpack and build: instead of that
# it puts finished files, which it is given, where a build would have left them:
#
#	AOE_STUB_KO=file	aoe.ko
#	AOE_STUB_AOECTL=file	aoectl; without it a script that says so
#
# Targets: describe, stage, check-plist, install and deinstall (with DESTDIR),
# clean.  Names, order and meaning of variables are those of Mk/bsd.port.mk,
# Mk/bsd.commands.mk, Mk/Uses/kmod.mk, Mk/Uses/cargo.mk and Keywords/kld.ucl.

# -- The first half, for bsd.port.options.mk too ------------------------------
.if !defined(_AOE_STUB_OPTIONS)
_AOE_STUB_OPTIONS=	yes

.MAKE.EXPAND_VARIABLES=	yes
.CURDIR:=	${.CURDIR:tA}

.if !defined(ARCH)
ARCH!=		uname -p
.endif
OPSYS?=		FreeBSD
.if !defined(OSVERSION)
OSVERSION!=	uname -K
.endif
SRC_BASE?=	/usr/src
LOCALBASE?=	/usr/local

AWK?=		awk
CHMOD?=		chmod
ECHO_CMD?=	echo
ECHO_MSG?=	echo
FIND?=		find
GZIP_CMD?=	gzip -nf -9
INSTALL?=	install
LN?=		ln
MKDIR?=		mkdir -p
RM?=		rm -f
SED?=		sed
SETENV?=	env
STRIP_CMD?=	strip
TAR?=		tar

# Every option is on unless WITHOUT names it.
PORT_OPTIONS=	${OPTIONS_DEFINE}
.for option in ${WITHOUT}
PORT_OPTIONS:=	${PORT_OPTIONS:N${option}}
.endfor
.endif

# -- The rest ------------------------------------------------------------------
.if !defined(INOPTIONSMK)

PREFIX?=	${LOCALBASE}
EXTRACT_SUFX?=	.tar.gz
PORTVERSION=	${DISTVERSION:tl:C/([a-z])[a-z]+/\1/g:C/([0-9])([a-z])/\1.\2/g:C/:(.)/\1/g:C/[^a-z0-9+]+/./g}
PKGNAME=	${PORTNAME}-${PORTVERSION}
DISTNAME?=	${PORTNAME}-${DISTVERSION}
WRKDIR?=	${.CURDIR}/work
WRKSRC?=	${WRKDIR}/${DISTNAME}
STAGEDIR?=	${WRKDIR}/stage
TMPPLIST?=	${WRKDIR}/.PLIST.mktmp
FILESDIR?=	${.CURDIR}/files
PKGDIR?=	${.CURDIR}
PLIST?=		${PKGDIR}/pkg-plist
DESCR?=		${PKGDIR}/pkg-descr
EXAMPLESDIR?=	${PREFIX}/share/examples/${PORTNAME}
RUST_DEFAULT?=	rust
DO_MAKE_BUILD?=	${SETENV} ${MAKE_ENV} ${MAKE} -f Makefile

.for arch in ${ONLY_FOR_ARCHS}
.  if ${arch} == ${ARCH}
_AOE_STUB_ARCH_OK=	yes
.  endif
.endfor
.if !defined(_AOE_STUB_ARCH_OK)
IGNORE=		is only for ${ONLY_FOR_ARCHS}, while you are running ${ARCH} (reason: ${ONLY_FOR_ARCHS_REASON})
.endif

# USES=kmod
.if ${USES:Mkmod}
.  if !exists(${SRC_BASE}/sys/Makefile)
IGNORE=		requires kernel source files in ${SRC_BASE}
.  endif
CATEGORIES+=	kld
KMODDIR?=	/boot/modules
PLIST_SUB+=	KMODDIR="${KMODDIR:C,^/,,}"
MAKE_ENV+=	KMODDIR="${KMODDIR}" SYSDIR="${SRC_BASE}/sys" NO_XREF=yes
PLIST_FILES+=	"@kld ${KMODDIR}"
STRIP_CMD+=	--strip-debug
.endif

# USES=cargo
.if ${USES:Mcargo}
.sinclude "${.CURDIR}/Makefile.crates"
CARGO_DIST_SUBDIR?=	rust/crates
DISTFILES+=	${CARGO_CRATES:@c@${CARGO_DIST_SUBDIR}/${c}.crate@}
CARGO_BUILDDEP?=	yes
.  if ${CARGO_BUILDDEP} == yes
BUILD_DEPENDS+=	${RUST_DEFAULT}>=1.68.0:lang/${RUST_DEFAULT}
.  endif
RUSTC?=		${LOCALBASE}/bin/rustc
CARGO_TARGET_DIR?=	${WRKDIR}/target
CARGO_BUILD_TARGET?=	${ARCH:S/amd64/x86_64/}-unknown-${OPSYS:tl}
.endif

BINMODE?=	555
MANMODE?=	444
STRIP?=		-s
_SHAREMODE?=	0644
COPY?=		-c
.if !defined(AOE_STUB_AOECTL)
# A script cannot be stripped.
STRIP=
.endif
INSTALL_PROGRAM=	${INSTALL} ${COPY} ${STRIP} -m ${BINMODE}
INSTALL_KLD=	${INSTALL} ${COPY} -m ${BINMODE}
INSTALL_SCRIPT=	${INSTALL} ${COPY} -m ${BINMODE}
INSTALL_DATA=	${INSTALL} ${COPY} -m ${_SHAREMODE}
INSTALL_MAN=	${INSTALL} ${COPY} -m ${MANMODE}

PLIST_SUB+=	PREFIX="${PREFIX}" EXAMPLESDIR="${EXAMPLESDIR:S,^${PREFIX}/,,}"
.if ${PORT_OPTIONS:MEXAMPLES}
PLIST_SUB+=	PORTEXAMPLES=""
.else
PLIST_SUB+=	PORTEXAMPLES="@comment "
.endif
SUB_LIST+=	PREFIX="${PREFIX}" EXAMPLESDIR="${EXAMPLESDIR}" PORTNAME="${PORTNAME}"

_AOE_STUB_BUILT=	${CARGO_TARGET_DIR}/${CARGO_BUILD_TARGET}/release
# What Templates/BSD.local.dist makes below the prefix, as far as it is of use.
_AOE_STUB_DIRS=	etc/rc.d sbin share/examples share/man/man4 share/man/man8
# Where `install` keeps what pkg(8) would have in its database.
_AOE_STUB_DB=	${DESTDIR}/var/db/aoe-stub-plist

.MAIN: stage
.PHONY: check-sanity describe extract build stage check-plist install deinstall clean

check-sanity:
.if defined(IGNORE)
	@${ECHO_MSG} "===>  ${PKGNAME} ${IGNORE:C/[[:space:]]+/ /g}." >&2
	@false
.else
	@:
.endif

# The line of this port in an INDEX.
describe:
	@${ECHO_CMD} '${PKGNAME}|/usr/ports/net/${PORTNAME}|${PREFIX}|${COMMENT}|/usr/ports/net/${PORTNAME}/pkg-descr|${MAINTAINER}|${CATEGORIES}|||${WWW}|||'

.if target(post-extract)
extract: post-extract
post-extract: check-sanity
.else
extract: check-sanity
.endif

build: extract
	@${ECHO_MSG} "===>  STUB: nothing is built; finished files are put in the place of a build's"
	@test -f "${AOE_STUB_KO}" || { ${ECHO_MSG} "AOE_STUB_KO=${AOE_STUB_KO}: there is no such file" >&2; exit 1; }
	@cp ${AOE_STUB_KO} ${WRKSRC}/kmod/aoe.ko
	@${MKDIR} ${_AOE_STUB_BUILT}
.if defined(AOE_STUB_AOECTL)
	@cp ${AOE_STUB_AOECTL} ${_AOE_STUB_BUILT}/aoectl
.else
	@${ECHO_MSG} "===>  STUB: no aoectl was given; a script takes its place"
	@${ECHO_CMD} '#!/bin/sh' > ${_AOE_STUB_BUILT}/aoectl
	@${ECHO_CMD} 'echo "$${0##*/}: not the real aoectl: none was given to the stub of the ports framework" >&2; exit 70' \
	    >> ${_AOE_STUB_BUILT}/aoectl
	@${CHMOD} +x ${_AOE_STUB_BUILT}/aoectl
.endif

_aoe-stub-sub: build
.for file in ${SUB_FILES}
	@${SED} ${SUB_LIST:S/$/!g/:S/^/ -e s!%%/:S/=/%%!/} ${FILESDIR}/${file}.in > ${WRKDIR}/${file}
.endfor

_aoe-stub-stage-dirs: _aoe-stub-sub
	@${ECHO_MSG} "===>  Staging for ${PKGNAME}"
	@${RM} -r ${STAGEDIR}
	@${MKDIR} ${_AOE_STUB_DIRS:S,^,${STAGEDIR}${PREFIX}/,} ${STAGEDIR}${KMODDIR}

do-install: _aoe-stub-stage-dirs

.if ${PORT_OPTIONS:MEXAMPLES}
post-install-EXAMPLES-on: do-install
_AOE_STUB_LAST=	post-install-EXAMPLES-on
.else
_AOE_STUB_LAST=	do-install
.endif

stage: ${_AOE_STUB_LAST}
	@${FIND} ${STAGEDIR}${PREFIX}/share/man -type f -name '*.[1-9]' -exec ${GZIP_CMD} {} +
	@{ ${SED} ${PLIST_SUB:S/$/!g/:S/^/ -e s!%%/:S/=/%%!/} ${PLIST}; \
	    printf '%s\n' ${PLIST_FILES}; } | ${SED} '/^@comment/d' > ${TMPPLIST}

# Files of the list, as absolute names.
_AOE_STUB_LISTED=	${SED} -e '/^@/d' -e 's,^[^/],${PREFIX}/&,' -e 's,//*,/,g'

check-plist: stage
	@${_AOE_STUB_LISTED} ${TMPPLIST} | sort > ${WRKDIR}/.listed
	@(cd ${STAGEDIR} && ${FIND} . ! -type d | ${SED} 's,^\.,,' | sort) > ${WRKDIR}/.staged
	@if cmp -s ${WRKDIR}/.listed ${WRKDIR}/.staged; then \
	    ${ECHO_MSG} "===>  No pkg-plist issues found"; \
	else \
	    diff ${WRKDIR}/.listed ${WRKDIR}/.staged | \
	        ${SED} -n -e 's/^</Error: missing:/p' -e 's/^>/Error: orphaned:/p' >&2; false; \
	fi

# The list and, as pkg(8) remembers too, the directories that were not there.
install: check-plist
	@${ECHO_MSG} "===>  Installing for ${PKGNAME}"
	@(cd ${STAGEDIR} && ${FIND} . -type d | ${SED} -e 1d -e 's,^\.,,' | sort -r) | while read dir; do \
	    [ -d ${DESTDIR}$$dir ] || echo "@dir $$dir"; done > ${WRKDIR}/.newdirs
	@${MKDIR} ${DESTDIR}/ ${_AOE_STUB_DB:H}
	@(cd ${STAGEDIR} && ${SED} 's,^/,./,' ${WRKDIR}/.listed | ${TAR} -cf - -T -) | ${TAR} -xpf - -C ${DESTDIR}/
	@cat ${TMPPLIST} ${WRKDIR}/.newdirs > ${_AOE_STUB_DB}
	@for dir in $$(${SED} -n 's/^@kld //p' ${TMPPLIST}); do \
	    if [ -z "${DESTDIR}" ]; then ${ECHO_MSG} "kldxref $$dir"; /usr/sbin/kldxref $$dir; fi; done

deinstall:
	@test -f ${_AOE_STUB_DB} || { ${ECHO_MSG} "===>  ${PKGNAME} is not installed" >&2; exit 1; }
	@${ECHO_MSG} "===>  Deinstalling for ${PKGNAME}"
	@${_AOE_STUB_LISTED} ${_AOE_STUB_DB} | ${SED} 's,^,${DESTDIR},' | xargs rm
	@for dir in $$(${SED} -n 's/^@kld //p' ${_AOE_STUB_DB}); do \
	    if [ -z "${DESTDIR}" ]; then ${ECHO_MSG} "kldxref $$dir"; /usr/sbin/kldxref $$dir; fi; done
	@for dir in $$(${SED} -n 's/^@dir //p' ${_AOE_STUB_DB}); do \
	    rmdir ${DESTDIR}$$dir 2>/dev/null || true; done
	@${RM} ${_AOE_STUB_DB}

clean:
	@${RM} -r ${WRKDIR}

.endif
