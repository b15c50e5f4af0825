package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// How long what is made here holds: a bed is up for hours.
const validity = 30 * 24 * time.Hour

// wanted is one pair of files: `<File>.crt` and `<File>.key`.
type wanted struct {
	File string `json:"file"`
	// Name is the user, Groups what it belongs to, as the API server reads them.
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
	// Hosts are addresses and names that a server proves.
	Hosts []string `json:"hosts"`
	// RSA asks for the key that kubeadm gives its admin, in the form that it has there.
	RSA bool `json:"rsa"`
}

// pki makes, in a directory, an authority if there is none, the key of service account tokens likewise,
// and the certificates that the standard input lists.
func pki(args []string) error {
	if len(args) != 1 {
		return errors.New("pki DIRECTORY < LIST")
	}
	directory := args[0]
	var list []wanted
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return fmt.Errorf("the list: %w", err)
	}
	authority, err := loadAuthority(directory)
	if errors.Is(err, fs.ErrNotExist) {
		authority, err = makeAuthority(directory)
	}
	if err != nil {
		return err
	}
	for _, one := range list {
		if err := authority.issue(directory, one); err != nil {
			return fmt.Errorf("%s: %w", one.File, err)
		}
	}
	return nil
}

type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func loadAuthority(directory string) (*authority, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(directory, "ca.crt"), filepath.Join(directory, "ca.key"))
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the authority's key cannot sign")
	}
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	return &authority{certificate, key}, err
}

func makeAuthority(directory string) (*authority, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := template(pkix.Name{CommonName: "kubernetes"})
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	template.DNSNames = []string{"kubernetes"}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := writePair(directory, "ca", der, key); err != nil {
		return nil, err
	}
	if err := makeTokenKey(directory); err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, key}, err
}

// makeTokenKey makes the key that signs service account tokens.
func makeTokenKey(directory string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(directory, "sa.pub"), "PUBLIC KEY", public); err != nil {
		return err
	}
	return writePEM(filepath.Join(directory, "sa.key"), "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}

func (authority *authority) issue(directory string, one wanted) error {
	template := template(pkix.Name{CommonName: one.Name, Organization: one.Groups})
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(one.Hosts) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, host := range one.Hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	var key crypto.Signer
	var err error
	if one.RSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.certificate, key.Public(), authority.key)
	if err != nil {
		return err
	}
	return writePair(directory, one.File, der, key)
}

func template(subject pkix.Name) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		fail(err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(validity),
	}
}

func writePair(directory, name string, certificate []byte, key crypto.Signer) error {
	kind, der := "EC PRIVATE KEY", []byte(nil)
	var err error
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		der, err = x509.MarshalECPrivateKey(key)
	case *rsa.PrivateKey:
		kind, der = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)
	}
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(directory, name+".key"), kind, der); err != nil {
		return err
	}
	return writePEM(filepath.Join(directory, name+".crt"), "CERTIFICATE", certificate)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
