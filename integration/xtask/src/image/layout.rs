//! Pure: files to an OCI image layout, as one tar archive. The same files give the same bytes: no
//! clock, no user, no order of a directory is in it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// gzip's number for "unknown": the machine that compressed is nobody's business.
const NO_SYSTEM: u8 = 255;

/// The files of an image by their paths, without a leading slash.
pub type Files = BTreeMap<String, File>;

/// One regular file.
pub struct File {
    /// Its permission bits
    pub mode: u32,
    /// Its content
    pub bytes: Vec<u8>,
}

/// What an image says of itself.
pub struct About<'a> {
    /// Repository and tag, as nodes are to know it
    pub name: &'a str,
    /// Version of what is inside
    pub version: &'a str,
    /// `amd64`, `arm64`
    pub architecture: &'a str,
    /// `user:group` that it runs as where nothing else is said
    pub user: &'a str,
    /// What runs when nothing is said
    pub entrypoint: &'a str,
    /// Variables, `NAME=VALUE`
    pub environment: &'a [&'a str],
}

/// A finished image.
pub struct Image {
    /// The archive
    pub archive: Vec<u8>,
    /// Digest of its manifest: what a registry calls it
    pub digest: String,
    /// Bytes of its one layer, compressed
    pub compressed: usize,
    /// Bytes of its one layer, unpacked
    pub unpacked: usize,
}

/// Puts `files` into one layer, and the layer into an archive.
///
/// # Errors
/// When a path does not fit into the archive's form.
pub fn pack(files: &Files, about: &About<'_>, level: Compression) -> io::Result<Image> {
    let layer = layer(files)?;
    let packed = gzip(&layer, level)?;
    let config = json(&config(about, &digest(&layer)))?;
    let manifest = json(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(CONFIG, &config),
        "layers": [described(LAYER, &packed)],
        "annotations": {
            "org.opencontainers.image.title": "causeway",
            "org.opencontainers.image.description": "Causeway: gateway, agent, controller and command line",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.version": about.version,
        },
    }))?;
    let index = json(&index(about, &manifest))?;
    let mut parts = Files::new();
    for blob in [&packed, &config, &manifest] {
        let path = format!("blobs/sha256/{}", hex(blob));
        parts.insert(path, plain(blob.clone()));
    }
    parts.insert("index.json".to_owned(), plain(index));
    let version = json(&json!({"imageLayoutVersion": "1.0.0"}))?;
    parts.insert("oci-layout".to_owned(), plain(version));
    Ok(Image {
        archive: self::layer(&parts)?,
        digest: digest(&manifest),
        compressed: packed.len(),
        unpacked: layer.len(),
    })
}

fn plain(bytes: Vec<u8>) -> File {
    File { mode: 0o644, bytes }
}

fn config(about: &About<'_>, layer: &str) -> Value {
    json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": about.architecture,
        "os": "linux",
        "config": {
            "User": about.user,
            "Env": about.environment,
            "Entrypoint": [about.entrypoint],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image"}],
    })
}

/// containerd takes the whole name from its own annotation, others the tag from the standard one.
fn index(about: &About<'_>, manifest: &[u8]) -> Value {
    let tag = about.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let mut entry = described(MANIFEST, manifest);
    if let Some(entry) = entry.as_object_mut() {
        let platform = json!({"architecture": about.architecture, "os": "linux"});
        entry.insert("platform".to_owned(), platform);
        let annotations = json!({
            "io.containerd.image.name": about.name,
            "org.opencontainers.image.ref.name": tag,
        });
        entry.insert("annotations".to_owned(), annotations);
    }
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
}

fn described(kind: &str, blob: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(blob), "size": blob.len()})
}

fn json(value: &Value) -> io::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(io::Error::other)
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn gzip(bytes: &[u8], level: Compression) -> io::Result<Vec<u8>> {
    let builder = GzBuilder::new().mtime(0).operating_system(NO_SYSTEM);
    let mut encoder = builder.write(Vec::new(), level);
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// A tar archive of the files, each directory before what it holds.
fn layer(files: &Files) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    let mut made = Vec::new();
    for (path, file) in files {
        for (at, _) in path.match_indices('/') {
            let directory = path.get(..=at).unwrap_or_default();
            if !made.contains(&directory) {
                made.push(directory);
                append(&mut archive, directory, EntryType::Directory, 0o755, &[])?;
            }
        }
        append(
            &mut archive,
            path,
            EntryType::Regular,
            file.mode,
            &file.bytes,
        )?;
    }
    archive.into_inner()
}

fn append(
    archive: &mut Builder<Vec<u8>>,
    path: &str,
    kind: EntryType,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
    archive.append_data(&mut header, path, bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const ABOUT: About<'_> = About {
        name: "example/causeway:1.2",
        version: "1.2",
        architecture: "amd64",
        user: "1:1",
        entrypoint: "/bin/x",
        environment: &["A=b"],
    };

    fn image() -> Image {
        let files = Files::from([
            (
                "usr/bin/x".to_owned(),
                File {
                    mode: 0o755,
                    bytes: b"program".to_vec(),
                },
            ),
            ("usr/lib/y".to_owned(), plain(b"data".to_vec())),
            ("etc/passwd".to_owned(), plain(b"me".to_vec())),
        ]);
        pack(&files, &ABOUT, Compression::fast()).unwrap()
    }

    fn unpack(archive: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mode = entry.header().mode().unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (path, (mode, bytes))
        });
        entries.collect()
    }

    #[test]
    fn the_same_files_give_the_same_image() {
        assert_eq!(image().archive, image().archive);
        assert_eq!(image().digest, image().digest);
    }

    #[test]
    fn every_blob_is_named_by_its_digest_and_found_from_the_index() {
        let image = image();
        let parts = unpack(&image.archive);
        for (path, (_, bytes)) in &parts {
            if let Some(name) = path.strip_prefix("blobs/sha256/").filter(|n| !n.is_empty()) {
                assert_eq!(name, hex(bytes));
            }
        }
        let read = |digest: &Value| -> Value {
            let name = digest.as_str().unwrap().replace("sha256:", "blobs/sha256/");
            serde_json::from_slice(&parts[&name].1).unwrap()
        };
        let index: Value = serde_json::from_slice(&parts["index.json"].1).unwrap();
        let entry = &index["manifests"][0];
        assert_eq!(entry["digest"], image.digest);
        assert_eq!(entry["annotations"]["io.containerd.image.name"], ABOUT.name);
        assert_eq!(
            entry["annotations"]["org.opencontainers.image.ref.name"],
            "1.2"
        );
        let manifest = read(&entry["digest"]);
        let config = read(&manifest["config"]["digest"]);
        assert_eq!(config["config"]["User"], "1:1");
        let layer = manifest["layers"][0]["digest"].as_str().unwrap();
        let packed = &parts[&layer.replace("sha256:", "blobs/sha256/")].1;
        assert_eq!(packed.len(), image.compressed);
        let mut layer = Vec::new();
        flate2::read::GzDecoder::new(&packed[..])
            .read_to_end(&mut layer)
            .unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&layer));
        let files = unpack(&layer);
        let paths: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "etc/",
                "etc/passwd",
                "usr/",
                "usr/bin/",
                "usr/bin/x",
                "usr/lib/",
                "usr/lib/y"
            ]
        );
        assert_eq!(files["usr/bin/x"], (0o755, b"program".to_vec()));
    }
}
