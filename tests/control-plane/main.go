// A Kubernetes control plane for tests and for throw-away labs: etcd, API server, controller manager and scheduler in
// one process, with nodes and pods played by kwok. Everything it keeps is in one folder; it ends on SIGTERM, on SIGINT,
// and when its standard input closes, so that a test which is killed leaves nothing running.
//
// When the API server answers and all nodes are ready it prints one line of JSON with the paths of its kubeconfigs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type settings struct {
	folder string // everything lives here
	listen string // address of the API server
	port   int    // its port; 0: any that is free
	podIP  string // address all pods have
	kwok   string // the program
	nodes  []node
}

type node struct{ name, address string }

// Longest time until all is up, on a machine that does other things meanwhile.
const patience = 2 * time.Minute

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "control-plane:", err)
		os.Exit(1)
	}
}

func run() error {
	begin := time.Now()
	var s settings
	var names string
	var stdin bool
	flag.StringVar(&s.folder, "data", "", "folder for everything it keeps (made if missing)")
	flag.StringVar(&s.listen, "listen", "127.0.0.1", "address of the API server")
	flag.IntVar(&s.port, "port", 0, "port of the API server; 0: any that is free")
	flag.StringVar(&s.podIP, "pod-ip", "10.0.0.1", "address all pods have")
	flag.StringVar(&s.kwok, "kwok", "", "the kwok program; without it one beside this program")
	flag.StringVar(&names, "nodes", "", "nodes to simulate: name or name=address, with commas between")
	flag.BoolVar(&stdin, "stdin", true, "end when standard input closes")
	flag.Parse()
	if s.folder == "" || flag.NArg() > 0 {
		return fmt.Errorf("usage: control-plane --data FOLDER [--listen ADDRESS] [--nodes a,b=192.0.2.1]")
	}
	folder, err := filepath.Abs(s.folder)
	if err != nil {
		return err
	}
	s.folder = folder
	if s.kwok == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		s.kwok = filepath.Join(filepath.Dir(self), "kwok")
	}
	for _, entry := range strings.Split(names, ",") {
		if name, address, _ := strings.Cut(entry, "="); name != "" {
			if address == "" {
				address = s.podIP
			}
			s.nodes = append(s.nodes, node{name, address})
		}
	}
	if s.port == 0 {
		port, err := freePort(s.listen)
		if err != nil {
			return err
		}
		s.port = port
	}
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if stdin {
		go func() {
			_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
			stop()
		}()
	}
	keys, err := makeKeys(&s)
	if err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	failed := make(chan error, 8)
	etcd, err := startEtcd(&s)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	defer etcd.Close()
	answers := make(chan struct{})
	startServers(ctx, &s, keys, etcd.address, answers, failed)
	starting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	go func() {
		// Whatever ends before its time ends the waiting.
		select {
		case err := <-failed:
			failed <- err
			cancel()
		case <-starting.Done():
		}
	}()
	err = bringUp(starting, &s, keys, func() { close(answers) }, func() error { return startKwok(ctx, &s, keys, failed) })
	if err != nil {
		select {
		case cause := <-failed:
			return cause
		default:
			return err
		}
	}
	line, err := json.Marshal(map[string]any{
		"kubeconfig": keys.admin, "viewer": keys.viewer, "expired": keys.expired,
		"server": s.url(), "ready_ms": time.Since(begin).Milliseconds(),
	})
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func (s *settings) url() string {
	return "https://" + net.JoinHostPort(s.listen, fmt.Sprint(s.port))
}

func freePort(address string) (int, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
