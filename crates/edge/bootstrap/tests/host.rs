//! An image from a made-up machine, on which secrets lie wherever people leave them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use berth_bootstrap::{BootstrapError, Host, Report};

/// Stands in every file that must not get into an image.
const SECRET: &str = "SECRET-5f1c";

fn put(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The MD5 sum by an independent program.
fn sum(content: &str) -> String {
    use std::io::Write as _;
    let mut child = Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(content.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..32].to_owned()
}

/// Installs a package: what it owns, with its sums, on the disk and in dpkg's records.
struct Installation<'a> {
    root: &'a Path,
    status: String,
}

impl Installation<'_> {
    fn package(
        &mut self,
        name: &str,
        fields: &str,
        files: &[(&str, &str)],
        conffiles: &[(&str, &str)],
    ) {
        let mut list = "/.\n".to_owned();
        let mut sums = String::new();
        let mut records = String::new();
        for (path, content) in files.iter().chain(conffiles) {
            put(self.root, path, content);
            let mut above = String::new();
            for part in path.split('/') {
                above = format!("{above}/{part}");
                list.push_str(&format!("{above}\n"));
            }
        }
        for (path, content) in files {
            sums.push_str(&format!("{}  {path}\n", sum(content)));
        }
        for (path, content) in conffiles {
            records.push_str(&format!("\n /{path} {}", sum(content)));
        }
        if !records.is_empty() {
            records = format!("Conffiles:{records}\n");
        }
        put(self.root, &format!("var/lib/dpkg/info/{name}.list"), &list);
        put(
            self.root,
            &format!("var/lib/dpkg/info/{name}.md5sums"),
            &sums,
        );
        self.status.push_str(&format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n{fields}{records}\n"
        ));
    }
}

fn machine(root: &Path) {
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    let mut on = Installation {
        root,
        status: String::new(),
    };
    on.package(
        "base-passwd",
        "Essential: yes\n",
        &[
            (
                "usr/share/base-passwd/passwd.master",
                "root:*:0:0:root:/root:/bin/bash\n",
            ),
            (
                "usr/share/base-passwd/group.master",
                "root:*:0:\nshadow:*:42:\n",
            ),
        ],
        &[],
    );
    on.package(
        "tool",
        "Depends: lib\n",
        &[
            ("bin/tool", "the tool"),
            ("usr/bin/changed", "as it came"),
            ("usr/bin/replaced", "as it came"),
            ("usr/bin/grouped", "with a group of this machine"),
        ],
        &[
            ("etc/tool.conf", "default"),
            ("etc/changed.conf", "default"),
        ],
    );
    on.package("lib", "", &[("usr/lib/lib.so", "the library")], &[]);
    on.package("other", "", &[("usr/bin/other", SECRET)], &[]);
    on.package(
        "ssl",
        "",
        &[("usr/share/ssl/readme", "ssl")],
        &[("etc/ssl/ssl.conf", "default")],
    );
    fs::create_dir_all(root.join("etc/ssl/private")).unwrap();
    let list = root.join("var/lib/dpkg/info/ssl.list");
    let owned = fs::read_to_string(&list).unwrap() + "/etc/ssl/private\n/root\n";
    fs::write(list, owned).unwrap();
    put(root, "var/lib/dpkg/status", &on.status);
    put(
        root,
        "etc/os-release",
        "ID=debian\nVERSION_CODENAME=test\nPRETTY_NAME=\"Test 1\"\n",
    );
    let mode = fs::Permissions::from_mode(0o6755);
    fs::set_permissions(root.join("usr/bin/grouped"), mode).unwrap();
    std::os::unix::fs::chown(root.join("usr/bin/grouped"), Some(0), Some(997)).unwrap();
    fs::set_permissions(
        root.join("usr/bin/grouped"),
        fs::Permissions::from_mode(0o6755),
    )
    .unwrap();
}

fn plant_secrets(root: &Path) {
    for path in [
        "root/.ssh/id_ed25519",
        "root/.bash_history",
        "home/user/notes",
        "etc/changed.conf",
        "etc/unowned.conf",
        "etc/ssl/private/server.key",
        "etc/machine-id",
        "etc/hostname",
        "etc/resolv.conf",
        "usr/bin/changed",
        "usr/local/bin/own",
        "opt/own/file",
        "srv/data",
        "var/lib/database/table",
        "var/lib/dpkg/info/tool.notes",
        "var/lib/dpkg/status-old",
        "var/log/auth.log",
        "tmp/file",
    ] {
        put(root, path, SECRET);
    }
    put(
        root,
        "etc/shadow",
        &format!("root:{SECRET}:1:0:99999:7:::\n"),
    );
    put(
        root,
        "etc/passwd",
        &format!("root:x:0:0:root:/root:/bin/bash\n{SECRET}:x:1:1::/:/bin/sh\n"),
    );
    fs::remove_file(root.join("usr/bin/replaced")).unwrap();
    symlink("/root/.ssh/id_ed25519", root.join("usr/bin/replaced")).unwrap();
}

fn image(root: &Path, wanted: &[&str]) -> Result<(Report, Vec<u8>), BootstrapError> {
    let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
    let mut bytes = Vec::new();
    let report = Host::open(root)?.write(Some(&wanted), &mut bytes)?;
    Ok((report, bytes))
}

/// Mode and content (or target) of every entry.
fn entries(archive: &[u8]) -> BTreeMap<String, (u32, String)> {
    let mut archive = tar::Archive::new(archive);
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        if let Some(target) = entry.link_name().unwrap() {
            content = format!("-> {}", target.display());
        }
        let path = entry.path().unwrap().display().to_string();
        let path = path.trim_end_matches('/').to_owned();
        let before = entries.insert(path, (entry.header().mode().unwrap(), content));
        assert_eq!(before, None, "every place is written once");
    }
    entries
}

#[test]
fn nothing_but_unchanged_files_of_packages_gets_in() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    machine(root);
    plant_secrets(root);
    let (report, archive) = image(root, &["tool", "ssl"]).unwrap();
    let holds_secret = archive
        .windows(SECRET.len())
        .any(|w| w == SECRET.as_bytes());
    assert!(!holds_secret, "a secret got in");
    let entries = entries(&archive);
    let content = |path: &str| entries.get(path).map(|(_, content)| content.as_str());
    assert_eq!(content("bin"), Some("-> usr/bin"));
    assert_eq!(content("usr/bin/tool"), Some("the tool"));
    assert_eq!(
        content("usr/lib/lib.so"),
        Some("the library"),
        "what a package needs comes along"
    );
    assert_eq!(content("etc/tool.conf"), Some("default"));
    for gone in [
        "usr/bin/changed",
        "usr/bin/replaced",
        "etc/changed.conf",
        "usr/bin/other",
        "etc/unowned.conf",
        "etc/resolv.conf",
        "etc/hostname",
        "etc/ssl/private/server.key",
    ] {
        assert_eq!(content(gone), None, "{gone}");
    }
    assert_eq!(report.changed, ["/usr/bin/changed", "/usr/bin/replaced"]);
    assert_eq!(report.configuration, ["/etc/changed.conf"]);
    assert!(
        entries.contains_key("etc/ssl/private"),
        "an owned directory is there, and empty"
    );
    assert_eq!(content("etc/shadow"), Some("root:*:20454:0:99999:7:::\n"));
    assert_eq!(
        content("etc/passwd"),
        Some("root:x:0:0:root:/root:/bin/bash\n")
    );
    assert_eq!(content("etc/machine-id"), Some(""));
    assert_eq!(entries["usr/bin/grouped"].0, 0o755, "nobody else's rights");
    assert_eq!(entries["tmp"].0, 0o1777);
    let status = content("var/lib/dpkg/status").unwrap();
    assert!(status.contains("Package: tool\n") && !status.contains("Package: other\n"));
    assert!(content("var/lib/dpkg/info/tool.list").is_some());
    // What lies beside the packages makes no difference to the image.
    put(root, "root/.ssh/id_ed25519", "another key");
    assert_eq!(image(root, &["tool", "ssl"]).unwrap().1, archive);
}

#[test]
fn no_link_on_the_way_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    machine(root);
    let outside = tempfile::tempdir().unwrap();
    put(outside.path(), "lib.so", "the library");
    fs::remove_dir_all(root.join("usr/lib")).unwrap();
    symlink(outside.path(), root.join("usr/lib")).unwrap();
    let (report, archive) = image(root, &["lib"]).unwrap();
    assert!(!entries(&archive).contains_key("usr/lib/lib.so"));
    assert_eq!(report.missing, 1);
}

#[test]
fn refusals_say_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    put(
        root,
        "etc/os-release",
        "ID=other\nPRETTY_NAME=\"Other Linux\"\n",
    );
    let error = Host::open(root).err().unwrap().to_string();
    assert!(
        error.contains("Other Linux") && error.contains("Debian, Ubuntu"),
        "{error}"
    );
    fs::remove_file(root.join("etc/os-release")).unwrap();
    machine(root);
    let error = image(root, &["ghost"]).unwrap_err().to_string();
    assert!(error.contains("ghost"), "{error}");
    fs::write(root.join("usr/share/base-passwd/passwd.master"), SECRET).unwrap();
    let error = image(root, &["lib"]).unwrap_err().to_string();
    assert!(error.contains("--reinstall base-passwd"), "{error}");
}
