package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const (
	envPrefix  = "LOCKD_"
	configFlag = "config" // the file, itself no key of it
	addrFlag   = "addr"   // of the client verbs; serve lets its variable pass
)

// newFlagSet returns an empty set that keeps the order of definition and
// leaves all printing to its user.
func newFlagSet(name string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SortFlags = false
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// serveFlags are those of c and --config.
func serveFlags(c *Config) *pflag.FlagSet {
	f := c.flags()
	f.String(configFlag, "", "YAML `file` with the names above as keys")
	return f
}

// loadConfig reads the configuration: a flag wins over the environment, that over
// the file, that over the default. A name that nothing has is an error,
// wherever it stands: what was meant would silently be a default. The result
// is validated.
func loadConfig(args, environ []string) (Config, error) {
	c := defaultConfig()
	flags := serveFlags(&c)
	if err := parseFlags(flags, args); err != nil {
		return c, err
	}
	env, err := environment(flags, environ)
	if err != nil {
		return c, usageError{err}
	}
	file, err := fileSettings(flags, env)
	if err != nil {
		return c, usageError{err}
	}
	maps.Copy(file, env)
	if err := file.apply(flags); err != nil {
		return c, usageError{err}
	}
	if err := c.Validate(); err != nil {
		return c, usageError{err}
	}
	return c, nil
}

// parseFlags parses args, which must be flags alone.
func parseFlags(flags *pflag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		return usageError{fmt.Errorf("unknown flag --%s%s", name, didYouMean(name, "--", flagNames(flags)))}
	}
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

// setting is a value and where it stands, for messages.
type setting struct{ value, source string }

// settings are found values by the names of their flags.
type settings map[string]setting

// apply sets the flags that were not on the command line.
func (s settings) apply(flags *pflag.FlagSet) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if flags.Changed(name) {
			continue
		}
		if err := flags.Lookup(name).Value.Set(s[name].value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %q: %w", s[name].source, s[name].value, err))
		}
	}
	return errors.Join(problems...)
}

// orchestrated matches the variables that Kubernetes and container links set
// for a service that happens to be called lockd or lockd-something.
var orchestrated = regexp.MustCompile(`^LOCKD_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP)(_[A-Z]+)?)?)$`)

// environment picks ours out of environ. An empty value is as good as none, as
// compose files write it.
func environment(flags *pflag.FlagSet, environ []string) (settings, error) {
	byVariable := map[string]string{variable(addrFlag): addrFlag}
	flags.VisitAll(func(f *pflag.Flag) { byVariable[variable(f.Name)] = f.Name })
	found := settings{}
	var problems []error
	for _, entry := range environ {
		key, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(key, envPrefix) || orchestrated.MatchString(key) {
			continue
		}
		name, known := byVariable[key]
		if !known {
			problems = append(problems, fmt.Errorf("unknown environment variable %s%s", key, didYouMean(key, "", slices.Collect(maps.Keys(byVariable)))))
			continue
		}
		if value != "" && name != addrFlag {
			found[name] = setting{value, key}
		}
	}
	return found, errors.Join(problems...)
}

// variable is the environment variable of a flag: data-dir is LOCKD_DATA_DIR.
func variable(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fileSettings reads the file that --config or its variable names, and takes
// the variable out of env: it is no setting of the node.
func fileSettings(flags *pflag.FlagSet, env settings) (settings, error) {
	path := flags.Lookup(configFlag).Value.String()
	if path == "" {
		path = env[configFlag].value
	}
	delete(env, configFlag)
	if path == "" {
		return settings{}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	found, err := parseFile(flags, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for name, s := range found {
		found[name] = setting{s.value, path + ": " + s.source}
	}
	return found, nil
}

// parseFile reads a YAML mapping from names to values. What has several values
// may be a list, what has names and values a mapping.
func parseFile(flags *pflag.FlagSet, text []byte) (settings, error) {
	var keys map[string]yaml.Node
	if err := yaml.Unmarshal(text, &keys); err != nil {
		return nil, err
	}
	found := settings{}
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		node := keys[key]
		if key == configFlag || flags.Lookup(key) == nil {
			names := slices.DeleteFunc(flagNames(flags), func(name string) bool { return name == configFlag })
			problems = append(problems, fmt.Errorf("line %d: unknown key %s%s", node.Line, key, didYouMean(key, "", names)))
			continue
		}
		value, err := yamlText(&node)
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %s: %w", node.Line, key, err))
			continue
		}
		found[key] = setting{value, key}
	}
	return found, errors.Join(problems...)
}

// yamlText is a value as a flag would have it.
func yamlText(node *yaml.Node) (string, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		return node.Value, nil
	case yaml.SequenceNode:
		var items []string
		err := node.Decode(&items)
		return strings.Join(items, ","), err
	case yaml.MappingNode:
		var peers Peers
		err := node.Decode((*map[string]string)(&peers))
		return peers.String(), err
	default:
		return "", errors.New("is neither a value, a list nor a mapping")
	}
}

// flagNames are the flags' names in their order.
func flagNames(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}
