//! Real batch systems on this machine. They need root, and the network where they are not installed
//! yet; who has neither skips.

use super::root;
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

/// Whether clusters can be started here; says so where not.
fn possible() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    let possible = cfg!(target_os = "linux") && String::from_utf8_lossy(&id.stdout).trim() == "0";
    if !possible {
        super::skipped("a batch system can be started by root on Linux only");
    }
    possible
}

/// Longest wait for anything: batch systems answer within seconds, but the machine may be busy and
/// the work goes on side by side.
const LIMIT: Duration = Duration::from_secs(300);

/// Waits until something is so. A batch system's own `until` shows its state where that takes too
/// long; this one is for tests within.
pub fn until(what: &str, so: impl Fn() -> bool) {
    until_or(what, so, String::new);
}

fn until_or(what: &str, so: impl Fn() -> bool, state: impl Fn() -> String) {
    let clock = Instant::now();
    while !so() {
        assert!(clock.elapsed() < LIMIT, "{what}: not after {} s\n{}", LIMIT.as_secs(), state());
        sleep(Duration::from_millis(200));
    }
}

/// The last lines of log files.
fn tails(files: impl IntoIterator<Item = PathBuf>) -> String {
    const LINES: usize = 40;
    let tail = |path: PathBuf| {
        let text = std::fs::read(&path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!(
            "== {}\n{}\n",
            path.display(),
            lines[lines.len().saturating_sub(LINES)..].join("\n")
        )
    };
    files.into_iter().map(tail).collect()
}

/// The files of a folder whose names pass.
fn files(folder: &Path, pass: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| pass(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

/// What a command prints, whether it succeeds or not.
fn shown(command: &mut Command) -> String {
    let text = |output: std::process::Output| {
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    format!("== {command:?}\n{}\n", command.output().map_or_else(|error| error.to_string(), text))
}

/// The output of a command that must succeed.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a test of this file that is ignored otherwise, so that it has an environment of its own.
fn run_inner(command: &mut Command, test: &str, state: impl Fn() -> String) {
    let done = command.args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap();
    let text =
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && text.contains("1 passed"), "{text}\n{}", state());
}

/// A Slurm of two nodes, ended when dropped.
pub struct Slurm {
    base: tempfile::TempDir,
}

impl Slurm {
    /// Starts it; indices of arrays are below `max_array`.
    pub fn start(max_array: usize) -> Option<Self> {
        if !possible() {
            return None;
        }
        let base = tempfile::tempdir().unwrap();
        let script = root().join("scripts/cluster/slurm/start.sh");
        let started = Command::new(script)
            .arg(base.path())
            .args([free_ports(3).to_string(), max_array.to_string()])
            .output()
            .unwrap();
        let slurm = Self { base };
        if started.status.success() {
            return Some(slurm);
        }
        let words = String::from_utf8_lossy(&started.stderr).into_owned();
        assert!(
            Command::new("slurmctld").arg("-V").output().is_err(),
            "Slurm is installed and did not start: {words}"
        );
        super::skipped(&format!("Slurm cannot be installed here: {words}"));
        None
    }

    /// A command that knows of it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.base.path().join("slurm.conf")).env("NO_COLOR", "1");
        command
    }

    /// The output of one of its own commands.
    pub fn ask(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        output(self.command(words[0]).args(&words[1..]))
    }

    /// Runs a test that is ignored otherwise with this Slurm.
    pub fn run_inner(&self, test: &str) {
        run_inner(&mut self.command(std::env::current_exe().unwrap()), test, || self.report());
    }

    /// Waits until something is so, and shows what Slurm says where it does not come to that.
    pub fn until(&self, what: &str, so: impl Fn() -> bool) {
        until_or(what, so, || self.report());
    }

    /// What Slurm says.
    fn report(&self) -> String {
        let commands = ["squeue -a -r -t all", "sinfo -N -l", "scontrol show job"].map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            shown(self.command(words[0]).args(&words[1..]))
        });
        commands.concat() + &tails(files(self.base.path(), |name| name.ends_with(".log")))
    }

    /// A task's state in Slurm's words.
    pub fn state(&self, task: &str) -> String {
        self.ask(&format!("squeue -h -r -t all -o %T -j {task}")).trim().to_owned()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = Command::new(root().join("scripts/cluster/slurm/stop.sh"))
            .arg(self.base.path())
            .output();
    }
}

/// The first of so many neighbouring ports that nobody has.
fn free_ports(count: u16) -> u16 {
    loop {
        let first = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        if first < u16::MAX - count
            && (first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        {
            return first;
        }
    }
}

/// A personal HTCondor in a folder of its own, ended when dropped. What is at the path of `shared`
/// is so within, too.
pub struct HtCondor {
    /// What users see.
    pub shared: tempfile::TempDir,
    /// There is one place for it, and so one at a time.
    _alone: std::fs::File,
}

/// Where it is installed, once for all.
const HTCONDOR: &str = "/var/tmp/lumisift-htcondor";

impl HtCondor {
    /// Starts it, with the program in the shared folder.
    pub fn start() -> Option<Self> {
        if !possible() {
            return None;
        }
        let alone = std::fs::File::create(format!("{HTCONDOR}.alone")).unwrap();
        alone.lock().unwrap();
        let shared = tempfile::tempdir().unwrap();
        std::fs::copy(super::PROGRAM, shared.path().join("lumisift")).unwrap();
        let script = root().join("scripts/cluster/htcondor/start.sh");
        let started = Command::new(script)
            .arg(HTCONDOR)
            .arg(shared.path())
            .arg(free_ports(1).to_string())
            .output()
            .unwrap();
        let condor = Self { shared, _alone: alone };
        if started.status.success() {
            condor.hand_over();
            return Some(condor);
        }
        let words = String::from_utf8_lossy(&started.stderr).into_owned();
        let allowed = started.status.code() != Some(3);
        assert!(
            !allowed || !Path::new(HTCONDOR).exists(),
            "HTCondor is installed and did not start: {words}"
        );
        super::skipped(&format!("HTCondor cannot be started here: {words}"));
        None
    }

    /// Lets the user have what the test wrote.
    pub fn hand_over(&self) {
        output(Command::new("chmod").arg("-R").arg("a+rwX").arg(self.shared.path()));
    }

    /// A command of the user in a folder.
    pub fn command(&self, folder: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("chroot");
        command.args([
            HTCONDOR,
            "runuser",
            "-u",
            "physicist",
            "--",
            "sh",
            "-c",
            "umask 0; cd \"$0\" && exec \"$@\"",
        ]);
        command.arg(folder).arg(program).env("NO_COLOR", "1").env_remove("TMPDIR");
        command
    }

    /// The output of one of its own commands.
    pub fn ask(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        output(self.command(self.shared.path(), words[0]).args(&words[1..]))
    }
}

impl HtCondor {
    /// Runs a test that is ignored otherwise within, in a folder.
    pub fn run_inner(&self, folder: &Path, program: &Path, test: &str) {
        run_inner(&mut self.command(folder, program), test, || self.report());
    }

    /// Waits until something is so, and shows what HTCondor says where it does not come to that.
    pub fn until(&self, what: &str, so: impl Fn() -> bool) {
        until_or(what, so, || self.report());
    }

    /// What HTCondor says: the queue, why nothing matches, the pool and the daemons' logs.
    fn report(&self) -> String {
        let lines = [
            "condor_q -nobatch",
            "condor_q -hold",
            "condor_q -better-analyze",
            "condor_history -limit 20",
            "condor_status",
        ]
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            shown(self.command(self.shared.path(), words[0]).args(&words[1..]))
        });
        let logs = Path::new(HTCONDOR).join("var/log/condor");
        let daemons = ["SchedLog", "NegotiatorLog", "StartLog", "ShadowLog"];
        lines.concat()
            + &tails(files(&logs, |name| {
                daemons.contains(&name) || name.starts_with("StarterLog.slot")
            }))
    }

    /// Epochs in the history of a folder that is on a machine of the pool, where a task has brought
    /// it there.
    pub fn carried_epochs(&self, out: &str) -> usize {
        let sandboxes = files(&Path::new(HTCONDOR).join("var/lib/condor/execute"), |name| {
            name.starts_with("dir_")
        });
        sandboxes.iter().map(|sandbox| epochs(&sandbox.join(out))).max().unwrap_or(0)
    }
}

impl Drop for HtCondor {
    fn drop(&mut self) {
        let _ = Command::new(root().join("scripts/cluster/htcondor/stop.sh"))
            .arg(HTCONDOR)
            .arg(self.shared.path())
            .output();
    }
}

/// Writes a small training of some seconds, `job.toml`, that is kept after every epoch, with its
/// data; `more` is added to its config.
pub fn small(folder: &Path, epochs: usize, more: &str) {
    super::succeed(folder, &["synth", "metsig", ".", "--size", "0.5", "-q"]);
    std::fs::copy(super::config("metsig.toml"), folder.join("metsig.toml")).unwrap();
    let text = format!(
        "extends = \"metsig.toml\"\n[data]\ntrain = [\"good.csv\"]\ntest = [\"bad1.csv\"]\n[model]\nhidden = [200, 100]\ndropout = 0.1\n\
         [train]\nepochs = {epochs}\ncheckpoint.epochs = 1\nstop.patience = 1000\n{more}"
    );
    std::fs::write(folder.join("job.toml"), text).unwrap();
}

/// The number of whole lines in a folder's history.
pub fn epochs(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("history.csv"))
        .map_or(0, |text| text.lines().count().saturating_sub(1))
}
