package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sort"
	"strings"
)

const (
	layerType    = "application/vnd.oci.image.layer.v1.tar"
	configType   = "application/vnd.oci.image.config.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
)

type list []string

func (l *list) String() string         { return strings.Join(*l, " ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

// image writes a tar of an OCI layout: one layer, and one or more images of it that differ in what they run.
func image(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	var files, links, images list
	out := flags.String("out", "", "the tar to write")
	flags.Var(&files, "file", "PATH=FILE: a program, by its path in the image")
	flags.Var(&links, "link", "PATH=TARGET: a symbolic link")
	flags.Var(&images, "image", "NAME=PROGRAM[,ARGUMENT..]: an image and its entry point")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || len(images) == 0 {
		return errors.New("image --out TAR --image NAME=PROGRAM --file PATH=FILE ..")
	}
	layer, err := layer(files, links)
	if err != nil {
		return err
	}
	layout := layout{blobs: map[string][]byte{}}
	content := layout.add(layerType, layer)
	var manifests []descriptor
	for _, wanted := range images {
		name, program, _ := strings.Cut(wanted, "=")
		manifests = append(manifests, layout.image(name, strings.Split(program, ","), content))
	}
	return layout.write(*out, manifests)
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

type layout struct {
	blobs map[string][]byte
}

func (l *layout) add(kind string, content []byte) descriptor {
	digest := sha256.Sum256(content)
	name := hex.EncodeToString(digest[:])
	l.blobs[name] = content
	return descriptor{MediaType: kind, Digest: "sha256:" + name, Size: len(content)}
}

func (l *layout) image(name string, program []string, layer descriptor) descriptor {
	config := l.add(configType, encode(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": program, "Env": []string{"PATH=/bin:/"}},
		// The layer is not compressed, so its digest is also that of its content.
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}},
	}))
	manifest := l.add(manifestType, encode(map[string]any{
		"schemaVersion": 2,
		"mediaType":     manifestType,
		"config":        config,
		"layers":        []descriptor{layer},
	}))
	_, tag, _ := strings.Cut(path.Base(name), ":")
	manifest.Annotations = map[string]string{
		"io.containerd.image.name":          name,
		"org.opencontainers.image.ref.name": tag,
	}
	manifest.Platform = map[string]string{"architecture": runtime.GOARCH, "os": "linux"}
	return manifest
}

func (l *layout) write(out string, manifests []descriptor) error {
	index := encode(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": manifests})
	content := archive{}
	content.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
	content.file("index.json", index, 0o644)
	var names []string
	for name := range l.blobs {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		content.file("blobs/sha256/"+name, l.blobs[name], 0o644)
	}
	packed, err := content.finish()
	if err != nil {
		return err
	}
	return os.WriteFile(out, packed, 0o644)
}

func layer(files, links list) ([]byte, error) {
	content := archive{}
	for _, directory := range []struct {
		name string
		mode int64
	}{{"bin/", 0o755}, {"etc/", 0o755}, {"tmp/", 0o1777}} {
		content.add(&tar.Header{Typeflag: tar.TypeDir, Name: directory.name, Mode: directory.mode}, nil)
	}
	content.file("etc/passwd", []byte("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"), 0o644)
	content.file("etc/group", []byte("root:x:0:\nnogroup:x:65534:\n"), 0o644)
	for _, wanted := range files {
		name, source, _ := strings.Cut(wanted, "=")
		text, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		content.file(strings.TrimPrefix(name, "/"), text, 0o755)
	}
	for _, wanted := range links {
		name, target, _ := strings.Cut(wanted, "=")
		content.add(&tar.Header{
			Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(name, "/"), Linkname: target, Mode: 0o777,
		}, nil)
	}
	return content.finish()
}

// archive is a tar in memory; the first error stays.
type archive struct {
	buffer bytes.Buffer
	writer *tar.Writer
	err    error
}

func (a *archive) file(name string, content []byte, mode int64) {
	a.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, content)
}

func (a *archive) add(header *tar.Header, content []byte) {
	if a.writer == nil {
		a.writer = tar.NewWriter(&a.buffer)
	}
	if a.err == nil {
		a.err = a.writer.WriteHeader(header)
	}
	if a.err == nil {
		_, a.err = io.Copy(a.writer, bytes.NewReader(content))
	}
}

func (a *archive) finish() ([]byte, error) {
	if a.err != nil {
		return nil, fmt.Errorf("packing: %w", a.err)
	}
	err := a.writer.Close()
	return a.buffer.Bytes(), err
}

func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		fail(err)
	}
	return text
}
