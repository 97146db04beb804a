# What can be done here. `make demo` needs only Go; the tests need the Debian
# packages below and install them when run as root.

GO ?= go
ARGS ?=
VERSION ?= $(shell git log -1 --format=0~git%cd.%h --date=format:%Y%m%d%H%M%S)
DEBIAN := postfix dovecot-core slapd ldap-utils postgresql strace chromium poppler-utils qpdf zbar-tools mupdf-tools openssl opendkim softhsm2 xmlsec1 unzip \
  libreoffice-writer-nogui libreoffice-calc-nogui libreoffice-draw-nogui libreoffice-impress-nogui

TRIAL := mmdebstrap systemd-container prometheus man-db
JUDGES := default-jdk-headless maven python3-venv poppler-utils mupdf-tools openssl qpdf xmlsec1
CACHE := conformance/.cache
TIME ?= 1m

.PHONY: demo build test fuzz packages packages-deb packages-trial packages-conformance check bench crash conformance deb deb-test generate ui

# The whole desk on this machine. ARGS=--once: unattended; ARGS=--postfix: with a real Postfix.
demo: build
	@bin/milterd demo $(ARGS)

build:
	@$(GO) build -o bin/milterd ./cmd/milterd

# Everything, with real peers: Postfix, PostgreSQL, Chromium. The pages take longest, so
# they begin.
test: packages check
	$(GO) test -p 2 -timeout 30m ./web ./...

# Every fuzz test, each for TIME, one after the other; it stops at the first finding.
fuzz:
	@for d in $$(git grep -l '^func Fuzz' -- '*_test.go' | sed 's|/[^/]*$$||' | sort -u); do \
	  for f in $$($(GO) test -list '^Fuzz' ./$$d | grep '^Fuzz'); do \
	    echo "$$d $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(TIME) ./$$d || exit 1; \
	  done; \
	done

# A target for each list, because make runs a target once, whoever needs it.
packages: NEEDED = $(DEBIAN)
packages-deb: NEEDED = debhelper gcc libc6-dev
packages-trial: NEEDED = $(TRIAL)
packages-conformance: NEEDED = $(JUDGES)
packages packages-deb packages-trial packages-conformance:
	@missing=""; for p in $(NEEDED); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	  else echo "The tests need these packages: sudo apt-get install -y$$missing" >&2; exit 1; fi; \
	fi

# vet, format, and that Go alone is enough: without a C compiler, only tokens are missing.
check:
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/milterd
	CGO_ENABLED=0 $(GO) test -run TestWithoutC ./pki
	@wrong="$$(gofmt -l $$(git ls-files '*.go'))"; if [ -n "$$wrong" ]; then echo "not gofmt'ed: $$wrong" >&2; exit 1; fi

# The figures that the issues ask for, as ratios within one run (docs/bench.md). About 30 minutes; it wants a quiet machine.
bench: packages packages-conformance build $(CACHE)/dss.done $(CACHE)/pyhanko.done
	@status=0; for b in mail pades judges ca trustlist qualified "own bin/milterd" "rest bin/milterd" "door bin/milterd" "flow bin/milterd" "opened bin/milterd" \
	  "standing bin/milterd" "standing -postgres bin/milterd"; do $(GO) run ./bench/$$b || status=1; done; exit $$status

# Kills a serving milterd 200 times while people send and sign; nothing may be lost or doubled.
crash: build
	$(GO) run ./bench/crash -milterd bin/milterd $(ARGS)

# What EU DSS, pyHanko, pdfsig, mutool, openssl, qpdf and xmlsec1 say of everything that we make, and of the same files
# damaged, and veraPDF of PDF/A: docs/conformance.md. About 25 minutes; the first time it fetches the validators, pinned, into $(CACHE).
conformance: packages-conformance build $(CACHE)/dss.done $(CACHE)/verapdf.done $(CACHE)/pyhanko.done
	$(GO) run ./conformance $(ARGS)

$(CACHE)/dss.done $(CACHE)/verapdf.done: $(CACHE)/%.done: conformance/%/pom.xml | packages-conformance
	rm -rf $(CACHE)/$*
	mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(CACHE)/$*
	touch $@

$(CACHE)/pyhanko.done: conformance/pyhanko/requirements.txt | packages-conformance
	rm -rf $(CACHE)/pyhanko
	python3 -m venv $(CACHE)/pyhanko
	$(CACHE)/pyhanko/bin/pip install -q -r $<
	touch $@

# bin/milterd.deb, with Debian's own tools. VERSION=1.2: a version other than the last commit.
deb: packages-deb
	@GO="$(GO)" packaging/build-deb "$(VERSION)"

# The package's life on a fresh Debian with Postfix: install, README's lines, a signed mail, upgrade, remove, purge.
# Needs root, and Debian's package sources the first time.
deb-test: deb packages-trial
	$(GO) run ./packaging/fresh -deb bin/milterd.deb

# What is made from something else: sample configuration, man pages, front end, word lists.
generate: ui
	$(GO) generate ./config ./cmd/milterd

ui:
	$(GO) generate ./web
