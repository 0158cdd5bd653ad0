package httpapi

import (
	"net/url"
	"unicode"
	"unicode/utf8"
)

// The limits of names and texts, in bytes of UTF-8.
const (
	maxNamespace = 128
	maxLockName  = 512
	maxOwner     = 256
	maxReason    = 1024
	maxMetadata  = 4 << 10 // all keys and values of one object
)

// lockName is the namespace and the lock in the path.
func (x *exchange) lockName() (namespace, lock string, err error) {
	if namespace, err = x.namespace(); err != nil {
		return "", "", err
	}
	if lock, err = url.PathUnescape(x.vars[1]); err != nil {
		return "", "", invalid("lock", "is not percent-encoded as a path segment")
	}
	return namespace, lock, checkLockName("lock", lock)
}

// namespace is the namespace in the path.
func (x *exchange) namespace() (string, error) {
	namespace, err := url.PathUnescape(x.vars[0])
	if err != nil {
		return "", invalid("namespace", "is not percent-encoded as a path segment")
	}
	return namespace, checkNamespace("namespace", namespace)
}

// checkNamespace wants [A-Za-z0-9][A-Za-z0-9._-]{0,127}.
func checkNamespace(field, name string) error {
	valid := len(name) <= maxNamespace && name != "" && isAlphanumeric(name[0])
	for i := 1; valid && i < len(name); i++ {
		c := name[i]
		valid = isAlphanumeric(c) || c == '.' || c == '_' || c == '-'
	}
	if !valid {
		return invalid(field, "must begin with a letter or digit and be 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-'")
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// checkLockName wants 1 to 512 bytes of UTF-8 without control characters, and
// neither "." nor "..", which clients and proxies resolve in paths.
func checkLockName(field, name string) error {
	if len(name) < 1 || len(name) > maxLockName {
		return invalid(field, "must be 1 to 512 bytes long")
	}
	if name == "." || name == ".." {
		return invalid(field, "must be neither '.' nor '..'")
	}
	return checkText(field, name, maxLockName)
}

// checkText wants at most limit bytes of UTF-8 without control characters.
func checkText(field, text string, limit int) error {
	if len(text) > limit {
		return invalidf(field, "must be at most %d bytes long", limit)
	}
	plain := true // ASCII without control characters
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return nil
	}
	if !utf8.ValidString(text) {
		return invalid(field, "must be UTF-8")
	}
	for _, c := range text {
		if unicode.IsControl(c) {
			return invalid(field, "must not have control characters")
		}
	}
	return nil
}
