package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Paths of certificates, keys and kubeconfigs.
type keys struct {
	ca, server, serverKey, account string
	admin, viewer, expired         string
	kubelet, kubeletKey            string
}

// The authority and its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func makeKeys(s *settings) (*keys, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(s.folder, name) }
	k := &keys{ca: at("ca.crt"), server: at("server.crt"), serverKey: at("server.key"), account: at("account.key")}
	if err := writePEM(k.ca, "CERTIFICATE", ca.cert.Raw); err != nil {
		return nil, err
	}
	account, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := writeKey(k.account, account); err != nil {
		return nil, err
	}
	year := 365 * 24 * time.Hour
	server := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.ParseIP(s.listen), net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
	}
	if err := ca.issue(server, year, k.server, k.serverKey); err != nil {
		return nil, err
	}
	login := func(name, user string, groups []string, valid time.Duration) (string, error) {
		who := &x509.Certificate{
			Subject:     pkix.Name{CommonName: user, Organization: groups},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		if err := ca.issue(who, valid, at(name+".crt"), at(name+".key")); err != nil {
			return "", err
		}
		return at(name + ".conf"), writeKubeconfig(at(name+".conf"), s.url(), name, k.ca, at(name+".crt"), at(name+".key"))
	}
	if k.admin, err = login("admin", "admin", []string{"system:masters"}, year); err != nil {
		return nil, err
	}
	if k.viewer, err = login("viewer", "viewer", []string{"viewers"}, year); err != nil {
		return nil, err
	}
	// Ended an hour ago.
	if k.expired, err = login("expired", "admin", []string{"system:masters"}, -time.Hour); err != nil {
		return nil, err
	}
	if _, err = login("kubelet-client", "kube-apiserver-kubelet-client", []string{"system:masters"}, year); err != nil {
		return nil, err
	}
	k.kubelet, k.kubeletKey = at("kubelet-client.crt"), at("kubelet-client.key")
	return k, nil
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "control-plane"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(raw)
	return &authority{cert, key}, err
}

func (a *authority) issue(template *x509.Certificate, valid time.Duration, certPath, keyPath string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return err
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-24*time.Hour), time.Now().Add(valid)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	if err := writePEM(certPath, "CERTIFICATE", raw); err != nil {
		return err
	}
	return writeKey(keyPath, key)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", raw)
}

func writePEM(path, kind string, raw []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600)
}

func writeKubeconfig(path, server, user, ca, cert, key string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: %[2]s
clusters:
- name: lab
  cluster: {server: %[1]q, certificate-authority: %[3]q}
users:
- name: %[2]s
  user: {client-certificate: %[4]q, client-key: %[5]q}
contexts:
- name: %[2]s
  context: {cluster: lab, user: %[2]s}
`, server, user, ca, cert, key)
	return os.WriteFile(path, []byte(text), 0o600)
}
