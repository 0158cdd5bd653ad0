// Command noop serves package noop: the ceiling for lockd's figures. It prints
// its address once it listens, and ends when killed.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"

	"lockd/internal/noop"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "address; port 0 takes any free one")
	flag.Parse()
	if err := serve(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "noop:", err)
		os.Exit(1)
	}
}

func serve(listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, noop.New())
}
