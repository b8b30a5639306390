//! `berth lab …`: executes `berth-lab`, which is found beside this program, then in
//! `../libexec/berth/`, and never by PATH.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::engine::Context;
use crate::exit::{Exit, Outcome};

const PROGRAM: &str = "berth-lab";

/// Becomes `berth-lab`, which gets the arguments and, in `BERTH_HOST`, the engine's address.
pub fn run(context: &Context, args: &[String]) -> Outcome {
    let host = context.endpoint()?.host;
    let own = std::env::current_exe()
        .map_err(|e| Exit::failed(format!("berth: cannot tell where this program is: {e}")))?;
    let program = find(&own)?;
    let error = Command::new(&program)
        .args(args)
        .env("BERTH_HOST", host)
        .exec();
    Err(Exit::failed(format!(
        "berth: cannot execute {}: {error}",
        program.display()
    )))
}

fn find(own: &Path) -> Result<PathBuf, Exit> {
    let directory = own.parent().unwrap_or(Path::new("/"));
    let places = [
        directory.join(PROGRAM),
        directory.join("../libexec/berth").join(PROGRAM),
    ];
    places
        .iter()
        .find(|path| path.is_file())
        .cloned()
        .ok_or_else(|| {
            let [beside, libexec] = &places;
            Exit::failed(format!(
                "berth: {PROGRAM} is not installed: it is neither {} nor {}",
                beside.display(),
                libexec.display()
            ))
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{PROGRAM, find};

    #[test]
    fn the_neighbour_comes_before_libexec() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        let libexec = root.path().join("libexec/berth");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&libexec).unwrap();
        let own = bin.join("berth");
        assert!(find(&own).unwrap_err().message.contains("not installed"));
        fs::write(libexec.join(PROGRAM), "").unwrap();
        assert!(find(&own).unwrap().ends_with("../libexec/berth/berth-lab"));
        fs::write(bin.join(PROGRAM), "").unwrap();
        assert_eq!(find(&own).unwrap(), bin.join(PROGRAM));
    }
}
