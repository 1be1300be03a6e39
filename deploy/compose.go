package main

// made are the secrets that `migrate keys` makes for compose, in files of a
// volume of which each container sees its own. Others are of whoever deploys.
var made = []string{
	"ACCOUNT_KEYS", "ARCHIVE_URL", "KAFKA_PASSWORD", "MONGODB_URL", "POSTGRES_URL", "REDIS_URL", "S3_URL", "SEAL_KEYS",
	"TOKEN_PRIVATE_KEY", "TOKEN_PUBLIC_KEYS", "VAPID_PRIVATE_KEY", "VAPID_PUBLIC_KEY",
}

// migrates is what the program migrate needs; a test of it holds the manifests to
// what it opens.
var migrates = needs{
	Required: []string{"ARCHIVE_URL", "KAFKA_PASSWORD", "MONGODB_URL", "POSTGRES_URL", "S3_URL"},
	Settings: []string{
		"AUDIT_TOPIC", "INBOX_STORE", "KAFKA_BROKERS", "KAFKA_PARTITIONS", "KAFKA_REPLICATION", "KAFKA_RETENTION_AUDIT", "KAFKA_RETENTION_DEADLETTERS", "KAFKA_RETENTION_DELIVERIES",
		"KAFKA_RETENTION_MESSAGES", "KAFKA_SASL_MECHANISM", "KAFKA_USERNAME", "S3_PUBLIC_URL",
	},
	Reaches: []string{"kafka", "mongodb", "postgres", "s3"},
}

// composed returns what a setting is under compose: what the variable of its
// name says, or what fits the services of the file.
func composed(setting string) string {
	fits := map[string]string{
		"KAFKA_SASL_MECHANISM": "plain",
		"KAFKA_USERNAME":       "tidings",
		"S3_PUBLIC_URL":        "http://127.0.0.1:${S3_PORT:-9000}",
	}[setting]
	return "${" + setting + ":-" + fits + "}"
}

// Networks are those of compose that a deployable is in. Gateways and functions
// share one, in which they find each other.
func (n needs) Networks() []string {
	in := []string{"tidings"}
	for _, s := range n.Reaches {
		if s != "gateway" && s != "functions" {
			in = append(in, s)
		}
	}
	return in
}
