.DEFAULT_GOAL := help
.PHONY: help run test check deploy fuzz bench ci

help: ## lists these
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

run: ## runs everything on this machine
	go run ./local

test: ## runs all tests
	go test ./... ./local/...

check: ## lints
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./... ./local/...

deploy: ## makes stack.yml, knative/, openfaas/ and docker-compose.yml
	go run ./deploy

fuzz: ## feeds rubbish to the parser of frames for a minute
	go test -run='^$$' -fuzz='^FuzzParse$$' -fuzztime=1m ./shared/frame

bench: ## runs each benchmark shortly against a system of its own
	.ci/bench-quick

ci: ## runs what has to pass before a change lands
	.ci/run
