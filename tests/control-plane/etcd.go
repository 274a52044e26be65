package main

import (
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

type etcd struct {
	*embed.Etcd
	address string
}

func startEtcd(s *settings) (*etcd, error) {
	config := embed.NewConfig()
	config.Dir = filepath.Join(s.folder, "etcd")
	config.LogLevel = "error"
	config.LogOutputs = []string{filepath.Join(s.folder, "etcd.log")}
	// It may all be lost: no waiting for disks.
	config.UnsafeNoFsync = true
	var addresses []url.URL
	for range 2 {
		port, err := freePort("127.0.0.1")
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	config.ListenClientUrls, config.AdvertiseClientUrls = addresses[:1], addresses[:1]
	config.ListenPeerUrls, config.AdvertisePeerUrls = addresses[1:], addresses[1:]
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	select {
	case <-server.Server.ReadyNotify():
		return &etcd{server, addresses[0].String()}, nil
	case <-time.After(patience):
		server.Close()
		return nil, fmt.Errorf("not ready after %s", patience)
	}
}
