package postgres

// For tests, which migrate step by step.
var Migrations = migrations
