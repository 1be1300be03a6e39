package kafka

import (
	"fmt"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/tidings-im/tidings/shared/proc"
)

var (
	settingMechanism = proc.Setting{Name: "KAFKA_SASL_MECHANISM", Doc: "how the brokers are told who connects: plain, scram-sha-256 or scram-sha-512; unset, they are not"}
	settingUser      = proc.Setting{Name: "KAFKA_USERNAME", Doc: "user of the brokers, with KAFKA_SASL_MECHANISM"}
	settingPassword  = proc.Setting{Name: "KAFKA_PASSWORD", Secret: true, Doc: "the user's password, with KAFKA_SASL_MECHANISM"}
)

// openSASL returns how connections prove whose they are, or nil if they need not.
func openSASL(env *proc.Env) (sasl.Mechanism, error) {
	set := env.Settings()
	name := set.OneOf(settingMechanism, "", "plain", "scram-sha-256", "scram-sha-512")
	user, password := set.String(settingUser), set.String(settingPassword)
	if err := set.Err(); err != nil || name == "" {
		return nil, err
	}
	if user == "" || password == "" {
		return nil, fmt.Errorf("setting %s: %s and %s are needed with it", settingMechanism.Name, settingUser.Name, settingPassword.Name)
	}
	switch name {
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, user, password)
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, user, password)
	}
	return plain.Mechanism{Username: user, Password: password}, nil
}
