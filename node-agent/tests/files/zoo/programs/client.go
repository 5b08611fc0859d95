// Speaks to an address by Go's ways, and prints what each gives: its answer, or its error.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sort"
	"strings"
	"time"
)

const patience = 30 * time.Second

type step struct {
	name string
	act  func() (string, error)
}

func stream(at string) (string, error) {
	connection, err := net.DialTimeout("tcp", at, patience)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	return connection.RemoteAddr().String(), nil
}

func request(at string) (string, error) {
	first, err := http.Get("http://" + at + "/first")
	if err != nil {
		return "", err
	}
	defer first.Body.Close()
	heard, err := io.ReadAll(first.Body)
	if err != nil {
		return "", err
	}
	second, err := http.Post("http://"+at+"/second", "text/plain", strings.NewReader("said"))
	if err != nil {
		return "", err
	}
	defer second.Body.Close()
	more, err := io.ReadAll(second.Body)
	return fmt.Sprintf("%s %q %s %q", first.Status, heard, second.Status, more), err
}

func connected(at string) (string, error) {
	connection, err := net.DialTimeout("udp", at, patience)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(patience))
	if _, err := connection.Write([]byte("connected")); err != nil {
		return "", err
	}
	answer := make([]byte, 100)
	count, err := connection.Read(answer)
	return fmt.Sprintf("%s %q", connection.RemoteAddr(), answer[:count]), err
}

func unconnected(at string) (string, error) {
	socket, err := net.ListenUDP("udp", nil)
	if err != nil {
		return "", err
	}
	defer socket.Close()
	socket.SetDeadline(time.Now().Add(patience))
	// Of both families, so an IPv4 address goes out as a mapped one.
	if _, err := socket.WriteToUDPAddrPort([]byte("unconnected"), netip.MustParseAddrPort(at)); err != nil {
		return "", err
	}
	answer := make([]byte, 100)
	count, source, err := socket.ReadFromUDPAddrPort(answer)
	return fmt.Sprintf("%s %q", source, answer[:count]), err
}

func lookup(name string) (string, error) {
	resolver := net.Resolver{PreferGo: true}
	found, err := resolver.LookupHost(context.Background(), name)
	sort.Strings(found)
	return strings.Join(found, " "), err
}

func main() {
	mode, subject := os.Args[1], os.Args[2]
	at := ""
	if mode != "lookup" {
		at = net.JoinHostPort(subject, os.Args[3])
	}
	steps := map[string][]step{
		"tcp": {
			{"net.Dial", func() (string, error) { return stream(at) }},
			{"net/http", func() (string, error) { return request(at) }},
		},
		"udp": {
			{"ListenUDP", func() (string, error) { return unconnected(at) }},
			{"net.Dial", func() (string, error) { return connected(at) }},
		},
		"lookup": {
			{"Resolver", func() (string, error) { return lookup(subject) }},
		},
	}
	failed := false
	for _, step := range steps[mode] {
		said, err := step.act()
		if err != nil {
			said, failed = err.Error(), true
		}
		fmt.Println(step.name, said)
	}
	if failed {
		os.Exit(1)
	}
}
