// Package openfaas proves what can be proved of stack.yml, stack.ce.yml and
// openfaas/ without a cluster, by OpenFaaS's own code: its parser reads the
// stacks, its builder makes the contexts, its REST API deploys the functions
// and its proxy calls them.
//
//	GOWORK=off go -C .ci/tools test ./openfaas
//
// The containers are processes here. Images are not built; what the Dockerfile
// copies and compiles is.
package openfaas
