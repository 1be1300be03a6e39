// Package compose proves what can be proved of docker-compose.yml without
// Docker: compose's own code reads it, and the whole of Tidings runs as it is
// wired there, each service a process of its own with the environment, the
// start order, the health checks and the time to stop that the file says.
//
//	GOWORK=off go -C .ci/tools test ./compose
//
// PostgreSQL, Redis and the object store are real; Kafka is the stand-in of the tests, inboxes are
// in PostgreSQL instead of MongoDB. What compose would do by the names of
// services is done by ports of this machine.
package compose
