//! Real batch systems on this machine. They need root, and the network where they are not installed yet; who has neither skips.

use super::root;
use std::{
    net::TcpListener,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

/// Whether clusters can be started here; says so where not.
fn possible() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    let possible = cfg!(target_os = "linux") && String::from_utf8_lossy(&id.stdout).trim() == "0";
    if !possible {
        eprintln!("skipped: a batch system can be started by root on Linux only");
    }
    possible
}

/// Waits until something is so.
pub fn until(what: &str, seconds: u64, so: impl Fn() -> bool) {
    let clock = Instant::now();
    while !so() {
        assert!(clock.elapsed() < Duration::from_secs(seconds), "{what}: not after {seconds} s");
        sleep(Duration::from_millis(200));
    }
}

/// The output of a command that must succeed.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a test of this file that is ignored otherwise, so that it has an environment of its own.
pub fn run_inner(command: &mut Command, test: &str) {
    let done = command.args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && text.contains("1 passed"), "{text}");
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
        let started = Command::new(script).arg(base.path()).args([free_ports(3).to_string(), max_array.to_string()]).output().unwrap();
        let slurm = Self { base };
        if started.status.success() {
            return Some(slurm);
        }
        let words = String::from_utf8_lossy(&started.stderr).into_owned();
        assert!(Command::new("slurmctld").arg("-V").output().is_err(), "Slurm is installed and did not start: {words}");
        eprintln!("skipped: Slurm cannot be installed here: {words}");
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

    /// A task's state in Slurm's words.
    pub fn state(&self, task: &str) -> String {
        self.ask(&format!("squeue -h -r -t all -o %T -j {task}")).trim().to_owned()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = Command::new(root().join("scripts/cluster/slurm/stop.sh")).arg(self.base.path()).output();
    }
}

/// The first of so many neighbouring ports that nobody has.
fn free_ports(count: u16) -> u16 {
    loop {
        let first = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        if first < u16::MAX - count && (first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
}

/// A personal HTCondor in a folder of its own, ended when dropped. What is at the path of `shared` is so within, too.
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
        let started = Command::new(script).arg(HTCONDOR).arg(shared.path()).arg(free_ports(1).to_string()).output().unwrap();
        let condor = Self { shared, _alone: alone };
        if started.status.success() {
            condor.hand_over();
            return Some(condor);
        }
        let words = String::from_utf8_lossy(&started.stderr).into_owned();
        let allowed = started.status.code() != Some(3);
        assert!(!allowed || !Path::new(HTCONDOR).exists(), "HTCondor is installed and did not start: {words}");
        eprintln!("skipped: HTCondor cannot be started here: {words}");
        None
    }

    /// Lets the user have what the test wrote.
    pub fn hand_over(&self) {
        output(Command::new("chmod").arg("-R").arg("a+rwX").arg(self.shared.path()));
    }

    /// A command of the user in a folder.
    pub fn command(&self, folder: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("chroot");
        command.args([HTCONDOR, "runuser", "-u", "physicist", "--", "sh", "-c", "umask 0; cd \"$0\" && exec \"$@\""]);
        command.arg(folder).arg(program).env("NO_COLOR", "1").env_remove("TMPDIR");
        command
    }

    /// The output of one of its own commands.
    pub fn ask(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        output(self.command(self.shared.path(), words[0]).args(&words[1..]))
    }
}

impl Drop for HtCondor {
    fn drop(&mut self) {
        let _ = Command::new(root().join("scripts/cluster/htcondor/stop.sh")).arg(HTCONDOR).arg(self.shared.path()).output();
    }
}

/// Writes a small training of some seconds, `job.toml`, that is kept after every epoch, with its data; `more` is added to its config.
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
    std::fs::read_to_string(folder.join("history.csv")).map_or(0, |text| text.lines().count().saturating_sub(1))
}
