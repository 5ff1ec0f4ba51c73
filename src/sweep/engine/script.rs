//! The shell script of a task.

use super::Job;
use crate::{
    config::Batch,
    error::{Error, Result},
};
use std::path::{Path, PathBuf};

/// Quotes a word for a shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:,@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The path of the program on the machines of the batch system.
pub(super) fn program(batch: &Batch) -> Result<PathBuf> {
    match &batch.program {
        Some(program) => Ok(program.into()),
        None => std::env::current_exe().map_err(|error| {
            Error::failed(format!(
                "batch.program: the path of this program is not known ({error}); set it"
            ))
        }),
    }
}

/// The command of a task; `$task` is its number in the shell. `folder` is the path of the job's
/// folder there.
fn command(job: &Job, program: &Path, folder: &str) -> String {
    let word = |argument: &String| {
        let parts: Vec<String> =
            argument.split("{task}").map(|part| part.replace("{folder}", folder)).collect();
        // The number is outside of the quotes around it.
        parts
            .iter()
            .map(|part| if part.is_empty() { String::new() } else { quoted(part) })
            .collect::<Vec<_>>()
            .join("\"$task\"")
    };
    let program = quoted(&program.to_string_lossy());
    std::iter::once(program).chain(job.arguments.iter().map(word)).collect::<Vec<_>>().join(" ")
}

/// Runs the program such that it receives signals, and stores its exit code in `$code`. `wrapper`
/// is put before its command; `folder` is the path of the job's folder there.
pub(super) fn body(
    batch: &Batch,
    job: &Job,
    wrapper: &str,
    program: &Path,
    folder: &str,
) -> String {
    let setup: String = batch.setup.iter().map(|line| format!("{line}\n")).collect();
    let setup = if setup.is_empty() {
        setup
    } else {
        format!("\n# batch.setup\n{setup}# end of batch.setup\n")
    };
    format!(
        r#"export RAYON_NUM_THREADS={cpus}

# A shell hears of a signal when the command it waits for has ended, and its commands do not hear of it: so wait beside.
wanted= child=
pass() {{ wanted=$1 again=yes; [ -z "$child" ] || kill -s "$1" "$child" 2>/dev/null; }}
trap 'pass USR1' USR1
trap 'pass TERM' TERM
{setup}
{wrapper}{command} &
child=$!
[ -z "$wanted" ] || pass "$wanted"
again=yes
while [ "$again" ]; do again=; wait "$child"; code=$?; done
# Told to stop before it listened: it goes on later, as with exit code 75.
case $wanted$code in USR1138 | TERM143) code=75 ;; esac
"#,
        cpus = batch.cpus,
        command = command(job, program, folder),
    )
}
