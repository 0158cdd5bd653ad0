package httpapi

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"

	"lockd/lease/leasepb"
)

const (
	keyHeader      = "Idempotency-Key"
	maxKey         = 128
	keyHashBytes   = 16
	keyHeaderRules = "must be 1 to 128 printable characters, bare or in double quotes, and given once"
)

// idempotencyKey is the key of a logged call as the log knows it, nil without
// one. It belongs to a caller, method and path, and to the bytes of the body.
func (x *exchange) idempotencyKey(r *http.Request) (*leasepb.Key, error) {
	values := r.Header[keyHeader]
	if len(values) == 0 {
		return nil, nil
	}
	key, ok := parseKey(values[0])
	if !ok || len(values) > 1 {
		return nil, invalid(keyHeader, keyHeaderRules)
	}
	const caller = "" // everybody is the same caller as long as nobody logs in
	var scope []byte
	for _, part := range []string{caller, r.Method, r.URL.EscapedPath(), key} {
		scope = binary.AppendUvarint(scope, uint64(len(part)))
		scope = append(scope, part...)
	}
	scopeHash, bodyHash := sha256.Sum256(scope), sha256.Sum256(x.raw)
	return &leasepb.Key{Hash: scopeHash[:keyHashBytes], Body: bodyHash[:keyHashBytes]}, nil
}

// parseKey reads a bare key, or one in the quoted form of the IETF draft, a
// string of RFC 8941. Both forms of one text are the same key.
func parseKey(value string) (string, bool) {
	if !isPrintable(value) {
		return "", false
	}
	if value[0] == '"' {
		var ok bool
		if value, ok = unquoteKey(value); !ok {
			return "", false
		}
	}
	return value, len(value) >= 1 && len(value) <= maxKey
}

func unquoteKey(quoted string) (string, bool) {
	key := make([]byte, 0, len(quoted))
	for i := 1; i < len(quoted); i++ {
		switch c := quoted[i]; c {
		case '"':
			return string(key), i == len(quoted)-1
		case '\\':
			if i++; i == len(quoted) || quoted[i] != '"' && quoted[i] != '\\' {
				return "", false
			}
			key = append(key, quoted[i])
		default:
			key = append(key, c)
		}
	}
	return "", false // never closed
}
