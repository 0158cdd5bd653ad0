package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// completion prints a script that completes commands and flags.
func completion(_ context.Context, args []string, stdout, _ io.Writer) error {
	flags := newFlagSet("completion")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	shells := map[string]func() string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	script, known := shells[flags.Arg(0)]
	if !known || flags.NArg() != 1 {
		return usageError{fmt.Errorf("name one shell: bash, zsh or fish; for instance: source <(lockd completion bash)")}
	}
	_, err := io.WriteString(stdout, script())
	return err
}

func bashCompletion() string {
	var names, cases []string
	for _, cmd := range commands() {
		names = append(names, cmd.name)
		if words := flagWords(cmd.name); words != "" {
			cases = append(cases, fmt.Sprintf("\t\t%s) words=%q ;;", cmd.name, words))
		}
	}
	return fmt.Sprintf(`_lockd() {
	local words
	case "${COMP_WORDS[1]}" in
%s
		*) words=%q ;;
	esac
	[ "$COMP_CWORD" -eq 1 ] && words=%q
	COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _lockd lockd
`, strings.Join(cases, "\n"), flagWords("serve"), strings.Join(names, " ")+" "+flagWords("serve"))
}

// zshCompletion lets zsh run the script made for bash.
func zshCompletion() string {
	return "#compdef lockd\nautoload -U +X bashcompinit && bashcompinit\n" + bashCompletion()
}

func fishCompletion() string {
	var b strings.Builder
	b.WriteString("complete -c lockd -f\n")
	for _, cmd := range commands() {
		fmt.Fprintf(&b, "complete -c lockd -n __fish_use_subcommand -a %s -d %q\n", cmd.name, cmd.summary)
		flagsOf(cmd.name).VisitAll(func(f *pflag.Flag) {
			_, usage := pflag.UnquoteUsage(f)
			fmt.Fprintf(&b, "complete -c lockd -n '__fish_seen_subcommand_from %s' -l %s -r -F -d %q\n", cmd.name, f.Name, usage)
		})
	}
	return b.String()
}

// flagWords are a command's flags as a shell would list them.
func flagWords(name string) string {
	names := flagNames(flagsOf(name))
	for i := range names {
		names[i] = "--" + names[i]
	}
	return strings.Join(names, " ")
}
