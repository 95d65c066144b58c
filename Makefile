# Every target that a newcomer needs; `make help` lists them.

SHELL := /bin/bash
BIN := build/bin
LAB := build/lab
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
GO ?= go
# grpcnotrace leaves out gRPC's debug pages, and with them html/template: the
# daemon has no use for either.
TAGS := grpcnotrace
# Programs that the lab, the demo and the systemd tests run.
COMMANDS := hybrid-agent hybrid-agent-op hybrid-plane hybridctl
STANDINS := fakenodeadm fakeaws demo

GOLANGCI_VERSION := v2.15.0
BUF_VERSION := v1.75.0
PROTOC_GEN_GO_VERSION := v1.36.12
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is missing (apt packages of scripts/packages) and say what could not be
	@scripts/setup.sh

.PHONY: build
build: ## Build the four programs into build/bin
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/ $(addprefix ./cmd/,$(COMMANDS))

.PHONY: build-lab
build-lab: build
	@mkdir -p $(LAB)
	CGO_ENABLED=0 $(GO) build -trimpath -o $(LAB)/ $(addprefix ./test/,$(STANDINS))

.PHONY: test
test: setup ## Run the unit and network-namespace tests with the race detector
	$(GO) test -race -timeout 15m ./...

.PHONY: test-crash
test-crash: ## Kill the process before and after every journal write of every operation; the last line counts them
	@mkdir -p build && rm -f build/test-crash.txt
	CRASH_SUMMARY=$(CURDIR)/build/test-crash.txt $(GO) test -tags crash -count=1 -parallel 3 -timeout 15m -run TestCrashEverywhere ./agent/operation/lifecycle
	@cat build/test-crash.txt

.PHONY: e2e
e2e: setup build-lab ## Run the demo with its breaks and interruptions, faults on sites, then soak and test-kube-kubelet
	$(GO) test -tags demo -count=1 -parallel 4 -timeout 30m -v ./test/e2e/...
	@$(MAKE) --no-print-directory soak test-kube-kubelet

.PHONY: soak
soak: setup build-lab ## Run the long storms: repaves, switches, trials and power cuts by the dozen
	$(GO) test -tags soak -count=1 -parallel 4 -timeout 30m -v ./test/e2e/...

.PHONY: demo
demo: setup build-lab ## Run the main job on one site in namespaces (KEEP=1, DEMO_BREAK=...)
	@$(LAB)/demo

.PHONY: demo-down
demo-down: ## Remove a site that KEEP=1 left up
	@if [ -x $(LAB)/demo ]; then $(LAB)/demo down; else echo "nothing to remove: no demo was built here"; fi

.PHONY: test-systemd
test-systemd: setup build-lab ## Boot a systemd host with the packaged units and take it to NodeReady
	$(GO) test -tags systemd -count=1 -parallel 8 -timeout 30m -v ./test/systemd/...

.PHONY: test-kube
test-kube: setup ## Run cordon, drain and labels against a real etcd and kube-apiserver (built once)
	$(GO) test -tags kube -count=1 -timeout 30m -v -run '^TestCluster$$' ./test/kube/

.PHONY: test-kube-kubelet
test-kube-kubelet: setup ## Move a Deployment between two nodes with a real kubelet and containerd, and back
	$(GO) test -tags kube -count=1 -timeout 30m -v -run '^TestKubelet$$' ./test/kube/

# NODEADM_BIN=/path runs the recorded runs against that program in place of the stand-in; test/fakenodeadm/README.md says what it needs.
.PHONY: test-nodeadm
test-nodeadm: setup build-lab ## Run the recorded runs of nodeadm on a systemd host: the stand-in, or NODEADM_BIN=/path
	CGO_ENABLED=0 $(GO) test -tags systemd -count=1 -timeout 150m -v ./test/fakenodeadm/contract

.PHONY: lint
lint: tools ## Run golangci-lint, buf lint and the breaking-change check
	$(BIN)/golangci-lint run ./...
	$(BIN)/golangci-lint run --build-tags demo,soak,systemd,kube,crash ./test/... ./agent/operation/lifecycle/...
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/baseline.binpb

.PHONY: fmt
fmt: tools ## Format Go and proto files
	$(BIN)/golangci-lint fmt ./...
	$(BIN)/buf format -w

.PHONY: generate
generate: tools build ## Generate Go from the protos and the command reference
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/buf generate
	scripts/reference.sh $(BIN) docs/reference

.PHONY: generate-check
generate-check: generate
	@git diff --exit-code --stat -- proto docs/reference || \
		{ echo "generated files differ from what is committed: run 'make generate' and commit"; exit 1; }
	@test -z "$$(git status --porcelain -- proto docs/reference)" || \
		{ git status --short -- proto docs/reference; echo "generated files are not committed"; exit 1; }

.PHONY: proto-baseline
proto-baseline: tools ## Take today's protos as the baseline of the breaking-change check
	$(BIN)/buf build -o proto/baseline.binpb

.PHONY: bench
bench: setup build-lab ## Run ours beside the floors (BENCH=prefix,prefix) into build/bench.json
	$(GO) run ./test/bench -bench '$(BENCH)' -out build/bench.json

.PHONY: bench-once
bench-once:
	$(GO) test -run '^$$' -bench . -benchtime 1x ./...

.PHONY: clean
clean: ## Remove what was built
	rm -rf build

# Tools are pinned here and built from source; they never enter go.mod.
.PHONY: tools
tools: $(BIN)/.tools-$(GOLANGCI_VERSION)-$(BUF_VERSION)-$(PROTOC_GEN_GO_VERSION)-$(PROTOC_GEN_GO_GRPC_VERSION)

$(BIN)/.tools-%:
	@mkdir -p $(BIN)
	GOBIN="$(CURDIR)/$(BIN)" $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO_VERSION)
	GOBIN="$(CURDIR)/$(BIN)" $(GO) install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC_VERSION)
	GOBIN="$(CURDIR)/$(BIN)" $(GO) install github.com/bufbuild/buf/cmd/buf@$(BUF_VERSION)
	GOBIN="$(CURDIR)/$(BIN)" $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@touch $@
