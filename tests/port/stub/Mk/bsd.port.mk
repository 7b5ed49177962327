# SPDX-License-Identifier: BSD-2-Clause
#
# STUB.  This is NOT the ports framework: it is the little of it that the ports in
# port/ use, so that they can be parsed, staged and installed where there is no
# ports tree.  What it cannot do is fetch and build: instead of a build it puts
# finished files, which it is given, where that would have left them:
#
#	AOE_STUB_KO=file	aoe.ko
#	AOE_STUB_AOECTL=file	aoectl; without it a script that says so
#
# It has no licences, no patches, no pkg(8) and no dependencies but the one of one
# of our ports on the other.  Every rule that it has is compared with real trees by
# tests/port/run (stub_is_like_the_framework) where AOE_PORTS_TREES names some.
#
# Targets: describe, extract, stage, check-plist, install, deinstall (with DESTDIR),
# clean.  Names, order and meaning of variables are those of Mk/bsd.port.mk,
# Mk/bsd.commands.mk, Mk/Uses/{kmod,cargo,tar}.mk and Keywords/{kld,sample}.ucl.

# -- The first half, for bsd.port.options.mk too ------------------------------
.if !defined(_AOE_STUB_OPTIONS)
_AOE_STUB_OPTIONS=	yes

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

CHMOD?=		chmod
ECHO_CMD?=	echo
ECHO_MSG?=	echo
FIND?=		find
GZIP_CMD?=	gzip -nf -9
INSTALL?=	install
LN?=		ln
MKDIR?=		mkdir -p
MV?=		mv
RM?=		rm -f
SED?=		sed
STRIP_CMD?=	strip
TAR?=		tar
.endif

# -- The rest ------------------------------------------------------------------
.if !defined(INOPTIONSMK)

PREFIX?=	${LOCALBASE}
.if ${USES:Mtar\:xz}
EXTRACT_SUFX?=	.tar.xz
.endif
PORTVERSION=	${DISTVERSION:tl:C/([a-z])[a-z]+/\1/g:C/([0-9])([a-z])/\1.\2/g:C/:(.)/\1/g:C/[^a-z0-9+]+/./g}
PKGBASE=	${PKGNAMEPREFIX}${PORTNAME}${PKGNAMESUFFIX}
PKGNAME=	${PKGBASE}-${PORTVERSION}
DISTNAME?=	${PORTNAME}-${DISTVERSION}
DISTDIR?=	/usr/ports/distfiles
WRKDIR?=	${WRKDIRPREFIX}${.CURDIR}/work
WRKSRC?=	${WRKDIR}/${DISTNAME}
BUILD_WRKSRC?=	${WRKSRC}
STAGEDIR?=	${WRKDIR}/stage
TMPPLIST?=	${WRKDIR}/.PLIST.mktmp
FILESDIR?=	${.CURDIR}/files
PLIST?=		${.CURDIR}/pkg-plist
PKGINSTALL?=	${.CURDIR}/pkg-install
RUST_DEFAULT?=	rust

.for arch in ${ONLY_FOR_ARCHS}
.  if ${arch} == ${ARCH}
_AOE_STUB_ARCH_OK=	yes
.  endif
.endfor
.if !defined(_AOE_STUB_ARCH_OK)
IGNORE=		is only for ${ONLY_FOR_ARCHS}, while you are running ${ARCH} (reason: ${ONLY_FOR_ARCHS_REASON})
.elif defined(IGNORE_FreeBSD_${OSVERSION:C/.....$//})
IGNORE=		${IGNORE_FreeBSD_${OSVERSION:C/.....$//}}
.endif

# USES=kmod
.if ${USES:Mkmod}
CATEGORIES+=	kld
KMODDIR?=	/boot/modules
PLIST_SUB+=	KMODDIR="${KMODDIR:C,^/,,}"
MAKE_ENV+=	KMODDIR="${KMODDIR}" SYSDIR="${SRC_BASE}/sys" NO_XREF=yes
PLIST_FILES+=	"@kld ${KMODDIR}"
STRIP_CMD+=	--strip-debug
.endif

# USES=cargo.  The crates are distfiles beside the port's own, which it therefore
# has to name.
.if ${USES:Mcargo}
.sinclude "${.CURDIR}/Makefile.crates"
CARGO_DIST_SUBDIR?=	rust/crates
_AOE_STUB_CRATES=	${CARGO_CRATES:@c@${CARGO_DIST_SUBDIR}/${c}.crate@}
DISTFILES+=	${_AOE_STUB_CRATES}
.endif
DISTFILES?=	${DISTNAME}${EXTRACT_SUFX}

BINMODE?=	555
MANMODE?=	444
_SHAREMODE?=	0644
INSTALL_KLD=	${INSTALL} -m ${BINMODE}
INSTALL_SCRIPT=	${INSTALL} -m ${BINMODE}
INSTALL_DATA=	${INSTALL} -m ${_SHAREMODE}
INSTALL_MAN=	${INSTALL} -m ${MANMODE}

.if defined(USE_RC_SUBR)
SUB_FILES+=	${USE_RC_SUBR}
.endif
SUB_LIST+=	PREFIX=${PREFIX}

# What Templates/BSD.local.dist makes below the prefix, as far as it is of use.
_AOE_STUB_DIRS=	bin etc/devd etc/rc.d sbin share/man/man4 share/man/man8
# Where `install` keeps what pkg(8) would have in its database.
_AOE_STUB_DB=	${DESTDIR}/var/db/aoe-stub.${PKGBASE}

.MAIN: stage
.PHONY: check-sanity describe extract build stage check-plist run-depends install deinstall clean

check-sanity:
.if defined(IGNORE)
	@${ECHO_MSG} "===>  ${PKGNAME} ${IGNORE}." >&2
	@false
.else
	@:
.endif

# The line of this port in an INDEX.
describe:
	@${ECHO_CMD} '${PKGNAME}|/usr/ports/net/${.CURDIR:T}|${PREFIX}|${COMMENT}|/usr/ports/net/${.CURDIR:T}/pkg-descr|${MAINTAINER}|${CATEGORIES}|||${WWW}|||'

# The port's own file alone: nothing here looks at the crates.
extract: check-sanity
	@${MKDIR} ${WRKDIR}
	@${TAR} -xf ${DISTDIR}/${DISTNAME}${EXTRACT_SUFX} -C ${WRKDIR}

build: extract
	@${ECHO_MSG} "===>  STUB: nothing is built; finished files are put in the place of a build's"
.if ${USES:Mkmod}
	@test -f "${AOE_STUB_KO}" || { ${ECHO_MSG} "AOE_STUB_KO=${AOE_STUB_KO}: there is no such file" >&2; exit 1; }
	@${MKDIR} ${WRKDIR}/obj
	@cp ${AOE_STUB_KO} ${WRKDIR}/obj/aoe.ko
.endif

_aoe-stub-sub: build
.for file in ${SUB_FILES}
	@${SED} ${SUB_LIST:S/$/!g/:S/^/ -e s!%%/:S/=/%%!/} ${FILESDIR}/${file}.in > ${WRKDIR}/${file}
.endfor

_aoe-stub-stage-dirs: _aoe-stub-sub
	@${ECHO_MSG} "===>  Staging for ${PKGNAME}"
	@${RM} -r ${STAGEDIR}
	@${MKDIR} ${_AOE_STUB_DIRS:S,^,${STAGEDIR}${PREFIX}/,}
.if ${USES:Mkmod}
	@${MKDIR} ${STAGEDIR}${KMODDIR}
.endif
	@{ if [ -f ${PLIST} ]; then ${SED} -e '' ${PLIST_SUB:S/$/!g/:S/^/ -e s!%%/:S/=/%%!/} ${PLIST}; fi; \
	    printf '%s\n' ${PLIST_FILES}; } | ${SED} -e '/^@comment/d' -e '/^$$/d' > ${TMPPLIST}

# `cargo install` of the one program; cargo makes it 755.
.if ${USES:Mcargo} && !target(do-install)
do-install:
.  if defined(AOE_STUB_AOECTL)
	@cp ${AOE_STUB_AOECTL} ${STAGEDIR}${PREFIX}/bin/aoectl
.  else
	@${ECHO_MSG} "===>  STUB: no aoectl was given; a script takes its place"
	@${ECHO_CMD} '#!/bin/sh' > ${STAGEDIR}${PREFIX}/bin/aoectl
	@${ECHO_CMD} 'echo "$${0##*/}: not the real aoectl: none was given to the stub of the ports framework" >&2; exit 70' \
	    >> ${STAGEDIR}${PREFIX}/bin/aoectl
.  endif
	@${CHMOD} 755 ${STAGEDIR}${PREFIX}/bin/aoectl
.  if !defined(AOE_STUB_AOECTL)
# A script cannot be stripped.
STRIP_CMD=	:
.  endif
.endif
do-install: _aoe-stub-stage-dirs

.if target(post-install)
post-install: do-install
_AOE_STUB_LAST=	post-install
.else
_AOE_STUB_LAST=	do-install
.endif

stage: ${_AOE_STUB_LAST}
.for script in ${USE_RC_SUBR}
	@${INSTALL_SCRIPT} ${WRKDIR}/${script} ${STAGEDIR}${PREFIX}/etc/rc.d/${script}
	@${ECHO_CMD} "@(root,wheel,0755) ${PREFIX}/etc/rc.d/${script}" >> ${TMPPLIST}
.endfor
	@${FIND} ${STAGEDIR}${PREFIX}/share/man -type f -name '*.[1-9]' -exec ${GZIP_CMD} {} +

# Files of the list, as absolute names.
_AOE_STUB_LISTED=	${SED} -e 's/^@sample //' -e 's/^@([^)]*) //' -e '/^@/d' -e 's,^[^/],${PREFIX}/&,' -e 's,//*,/,g'

check-plist: stage
	@${_AOE_STUB_LISTED} ${TMPPLIST} | sort > ${WRKDIR}/.listed
	@(cd ${STAGEDIR} && ${FIND} . ! -type d | ${SED} 's,^\.,,' | sort) > ${WRKDIR}/.staged
	@if cmp -s ${WRKDIR}/.listed ${WRKDIR}/.staged; then \
	    ${ECHO_MSG} "===>  No pkg-plist issues found"; \
	else \
	    diff ${WRKDIR}/.listed ${WRKDIR}/.staged | \
	        ${SED} -n -e 's/^</Error: Missing:/p' -e 's/^>/Error: Orphaned:/p' >&2; false; \
	fi

# A package that is not there is made from its port, which stands beside ours.
run-depends:
.for depend in ${RUN_DEPENDS}
	@[ -f ${_AOE_STUB_DB:H}/aoe-stub.${depend:C/[<>=:].*//} ] || \
	    (cd ${.CURDIR}/../${depend:C/.*://:T} && ${MAKE} install)
.endfor

# pkg-install is the package's +INSTALL, which pkg(8) runs before and after the
# files are there, and tells where the root is.
_AOE_STUB_SCRIPT=	if [ -f ${PKGINSTALL} ]; then PKG_ROOTDIR="${"${DESTDIR}" == "":?/:${DESTDIR}}" sh ${PKGINSTALL} ${PKGNAME}

# The list and, as pkg(8) remembers too, the directories that were not there.  A
# sample becomes a file, unless there is one.
install: check-plist run-depends
	@${ECHO_MSG} "===>  Installing for ${PKGNAME}"
	@${_AOE_STUB_SCRIPT} PRE-INSTALL; fi
	@(cd ${STAGEDIR} && ${FIND} . -type d | ${SED} -e 1d -e 's,^\.,,' | sort -r) | while read dir; do \
	    [ -d ${DESTDIR}$$dir ] || echo "@dir $$dir"; done > ${WRKDIR}/.newdirs
	@${MKDIR} ${DESTDIR}/ ${_AOE_STUB_DB:H}
	@(cd ${STAGEDIR} && ${SED} 's,^/,./,' ${WRKDIR}/.listed | ${TAR} -cf - -T -) | ${TAR} -xpf - -C ${DESTDIR}/
	@cat ${TMPPLIST} ${WRKDIR}/.newdirs > ${_AOE_STUB_DB}
	@${SED} -n -e 's,^@(root\,wheel\,\([0-7]*\)) \(.*\),\1 ${DESTDIR}\2,p' ${TMPPLIST} | while read mode file; do \
	    ${CHMOD} $$mode $$file; done
	@for file in $$(${SED} -n 's,^@sample \(.*\)\.sample$$,${DESTDIR}${PREFIX}/\1,p' ${TMPPLIST}); do \
	    [ -e $$file ] || cp -p $$file.sample $$file; done
	@for dir in $$(${SED} -n 's/^@kld //p' ${TMPPLIST}); do \
	    if [ -z "${DESTDIR}" ]; then ${ECHO_MSG} "kldxref $$dir"; /usr/sbin/kldxref $$dir; fi; done
	@${_AOE_STUB_SCRIPT} POST-INSTALL; fi

# A file that is still its sample goes with it.
deinstall:
	@test -f ${_AOE_STUB_DB} || { ${ECHO_MSG} "===>  ${PKGNAME} is not installed" >&2; exit 1; }
	@${ECHO_MSG} "===>  Deinstalling for ${PKGNAME}"
	@for file in $$(${SED} -n 's,^@sample \(.*\)\.sample$$,${DESTDIR}${PREFIX}/\1,p' ${_AOE_STUB_DB}); do \
	    if cmp -s $$file.sample $$file; then ${RM} $$file; \
	    else ${ECHO_MSG} "You may need to manually remove $$file if it is no longer needed."; fi; done
	@${_AOE_STUB_LISTED} ${_AOE_STUB_DB} | ${SED} 's,^,${DESTDIR},' | xargs rm
	@for dir in $$(${SED} -n 's/^@kld //p' ${_AOE_STUB_DB}); do \
	    if [ -z "${DESTDIR}" ]; then ${ECHO_MSG} "kldxref $$dir"; /usr/sbin/kldxref $$dir; fi; done
	@for dir in $$(${SED} -n 's/^@dir //p' ${_AOE_STUB_DB}); do \
	    rmdir ${DESTDIR}$$dir 2>/dev/null || true; done
	@${RM} ${_AOE_STUB_DB}

clean:
	@${RM} -r ${WRKDIR}

.endif
