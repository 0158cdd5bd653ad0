package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// configTable is the configuration as the README's Markdown table.
func configTable() string {
	c := defaultConfig()
	var b strings.Builder
	b.WriteString("| flag and key | environment | default | |\n| --- | --- | --- | --- |\n")
	serveFlags(&c).VisitAll(func(f *pflag.Flag) {
		_, usage := pflag.UnquoteUsage(f)
		value := ""
		if f.DefValue != "" && f.DefValue != "[]" {
			value = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", f.Name, variable(f.Name), value, usage)
	})
	return b.String()
}
