//go:build tidings_small

package proc

import (
	"context"
	"fmt"
)

// startTracing reports an error if traces are to be exported.
func (e *Env) startTracing(context.Context, string) error {
	set := e.Settings()
	endpoint := set.String(settingOTLP)
	if err := set.Err(); err != nil || endpoint == "" {
		return err
	}
	return fmt.Errorf("setting %s: this program was compiled with the tag tidings_small, which leaves out exporting traces: compile it without", settingOTLP.Name)
}
