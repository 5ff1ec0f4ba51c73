//! The lock of a folder: one training at a time. It names its holder and does not outlive it.
//!
//! Locks of the operating system do not work on every shared file system. Here a lock is a file
//! with a number, which can be created only once, and a unique token. Its holder writes a new
//! heartbeat into it every few seconds. A process that finds a lock of the same machine checks
//! whether its holder still runs; it observes a lock of another machine for a while. To take over
//! abandoned locks, a process creates the next number and then removes them. Clocks of different
//! machines are never compared.
//!
//! A process can sleep longer than others wait for it (SIGSTOP, a suspended machine). So it never
//! recreates its lock: it writes heartbeats to the file opened at the beginning. Before each write
//! to the folder, [`check`] reads the lock and fails if it does not contain the token of this
//! process. A process that takes over waits one heartbeat between the removal and its first write,
//! so that a pending write ends before.

use crate::{
    clock::utc,
    error::{Error, Result},
    files::sync::synced,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{ErrorKind, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Whether a file of that name is a lock.
pub fn is_lock(name: &str) -> bool {
    number(name).is_some()
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix("lock-")?.strip_suffix(".json")?.parse().ok()
}

/// The locks in a folder by their numbers, ascending.
fn locks(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let failed = |error: std::io::Error| Error::reading(folder, error);
    let mut locks = vec![];
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        locks.extend(
            path.file_name()
                .and_then(|name| number(&name.to_string_lossy()))
                .map(|number| (number, path.clone())),
        );
    }
    locks.sort();
    Ok(locks)
}

/// Time between heartbeats.
const BEAT: Duration = Duration::from_secs(5);
/// A lock of another machine without a heartbeat for this time counts as abandoned. File systems
/// may show files half a minute late.
const SILENCE: Duration = Duration::from_secs(60);

/// The holder of a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    host: String,
    process: u32,
    /// Start time of the process in units of the machine, because process numbers are reused.
    began: String,
    /// The boot of the system and its process namespace: host names are not unique, nor are process
    /// numbers in containers.
    #[serde(default)]
    machine: String,
    /// Unique to this claim.
    #[serde(default)]
    token: String,
    /// When the lock was taken, in seconds since 1970 by the holder's clock.
    #[serde(default)]
    since: u64,
    beat: u64,
}

impl Holder {
    fn me() -> Self {
        let process = std::process::id();
        Self {
            host: host(),
            process,
            began: began(process).unwrap_or_default(),
            machine: machine(),
            token: token(),
            since: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            beat: 0,
        }
    }

    /// Whether it runs on this machine; `None` if unknown.
    fn runs(&self) -> Option<bool> {
        let is_here = self.host == host() && (self.machine.is_empty() || self.machine == machine());
        (is_here && Path::new("/proc/self/stat").exists())
            .then(|| began(self.process).is_some_and(|began| began == self.began))
    }

    /// The content of the lock. Its length does not depend on the heartbeat, which overwrites the
    /// previous one.
    fn bytes(&self) -> std::io::Result<Vec<u8>> {
        const BEAT_DIGITS: usize = 20;
        let mut text = serde_json::to_string(self)?;
        let width = text.len() + BEAT_DIGITS - self.beat.to_string().len();
        text.extend(std::iter::repeat_n(' ', width - text.len()));
        Ok(text.into_bytes())
    }
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok());
    name.map_or_else(|| "unknown".into(), |name| name.trim().to_owned())
}

fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid")
        .map(|link| link.display().to_string())
        .unwrap_or_default();
    format!("{} {namespace}", boot.trim()).trim().to_owned()
}

/// 128 random bits.
pub(super) fn token() -> String {
    // The operating system provides the keys of each state.
    let random =
        |place: u8| RandomState::new().hash_one((place, std::process::id(), SystemTime::now()));
    format!("{:016x}{:016x}", random(0), random(1))
}

/// The start time of a running process, if available.
fn began(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may contain blanks and brackets; the text after its last bracket does not. A zombie
    // does not count as running.
    let rest: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (rest.first() != Some(&"Z")).then(|| rest.get(19).map(|began| (*began).to_owned())).flatten()
}

/// A lock taken by this process.
#[derive(Debug)]
struct Held {
    /// The locked folder, absolute.
    folder: PathBuf,
    path: PathBuf,
    token: String,
}

/// The locks that this process holds or has lost.
static HELD: Mutex<Vec<Arc<Held>>> = Mutex::new(vec![]);

fn held() -> std::sync::MutexGuard<'static, Vec<Arc<Held>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Fails if `target` is in a folder whose lock this process has lost. Must be called right before
/// each write and each removal. Other targets pass.
pub fn check(target: &Path) -> Result<()> {
    let all = held();
    if all.is_empty() {
        return Ok(());
    }
    let target = absolute(target);
    let over: Vec<Arc<Held>> =
        all.iter().filter(|held| target.starts_with(&held.folder)).cloned().collect();
    drop(all);
    over.iter().try_for_each(|held| held.check())
}

impl Held {
    /// Whether the lock still belongs to this claim. A concurrent heartbeat does not change the
    /// token.
    fn is_own(&self) -> std::io::Result<bool> {
        match fs::read(&self.path) {
            Ok(bytes) => {
                Ok(bytes.windows(self.token.len()).any(|window| window == self.token.as_bytes()))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::StaleNetworkFileHandle
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn check(&self) -> Result<()> {
        match self.is_own() {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.lost()),
            Err(error) => Err(Error::failed(format!(
                "{}: cannot be read: {error}; without it nothing is written",
                self.path.display()
            ))),
        }
    }

    fn lost(&self) -> Error {
        let folder = self.folder.display();
        if !self.folder.is_dir() {
            return Error::failed(format!("{folder}: the folder is gone"));
        }
        let other =
            locks(&self.folder).unwrap_or_default().pop().and_then(|(_, path)| fs::read(path).ok());
        let what = match other.and_then(|bytes| serde_json::from_slice::<Holder>(&bytes).ok()) {
            Some(Holder { process, host, since, .. }) => {
                format!("process {process} on {host} has taken over this folder (since {})", utc(UNIX_EPOCH + Duration::from_secs(since)))
            }
            None => "the lock of this process was removed; another process may have taken over this folder and finished".into(),
        };
        let why = format!(
            "a process that does not run for {} s, stopped or suspended, loses its folder",
            SILENCE.as_secs()
        );
        Error::failed(format!(
            "{folder}: {what}; this process stopped and wrote nothing more ({why}); start it in another folder, or wait and --resume"
        ))
    }
}

/// A held lock; released when dropped.
#[derive(Debug)]
pub struct Lock {
    held: Arc<Held>,
    end: Option<mpsc::Sender<()>>,
    beats: Option<JoinHandle<()>>,
}

/// Last seen contents of locks of other machines, and the time since which they are unchanged.
#[derive(Debug, Default)]
pub struct Seen(HashMap<PathBuf, (Vec<u8>, Instant)>);

/// The state of a lock file.
enum Judged {
    /// The file no longer exists.
    Gone,
    /// Its holder no longer runs.
    Abandoned(Abandoned),
    /// Its holder runs.
    Held(Holder),
    /// Needs more observation.
    Unclear,
}

/// A lock without a holder.
struct Abandoned {
    path: PathBuf,
    /// Its content when last read.
    bytes: Vec<u8>,
    /// Whether its holder may be suspended and continue later.
    may_wake: bool,
}

/// The outcome of one attempt to take a lock.
enum Attempt {
    Taken(Lock),
    HeldBy(Holder),
    Unclear,
}

impl Seen {
    fn judge(&mut self, path: &Path) -> Judged {
        let Ok(bytes) = fs::read(path) else { return Judged::Gone };
        let holder: Option<Holder> = serde_json::from_slice(&bytes).ok();
        let runs = holder.as_ref().and_then(Holder::runs);
        let may_wake = holder.is_some() && runs.is_none();
        let abandoned =
            |bytes| Judged::Abandoned(Abandoned { path: path.to_path_buf(), bytes, may_wake });
        match (runs, holder) {
            (Some(true), Some(holder)) => Judged::Held(holder),
            (Some(false), _) => abandoned(bytes),
            (_, holder) => {
                // From another machine, or truncated at creation: its holder runs if it changes.
                let silence = if holder.is_some() { SILENCE } else { BEAT };
                match self.0.get(path) {
                    Some((before, since)) if *before == bytes && since.elapsed() >= silence => {
                        abandoned(bytes)
                    }
                    Some((before, _)) if *before == bytes => Judged::Unclear,
                    before => {
                        let beats = before.is_some();
                        self.0.insert(path.to_path_buf(), (bytes, Instant::now()));
                        holder.filter(|_| beats).map_or(Judged::Unclear, Judged::Held)
                    }
                }
            }
        }
    }
}

impl Lock {
    /// Takes the lock of a folder; the error names the holder. Observes a lock of another machine
    /// for a while.
    pub fn take(folder: &Path) -> Result<Self> {
        let mut seen = Seen::default();
        loop {
            match Self::attempt(folder, &mut seen)? {
                Attempt::Taken(lock) => return Ok(lock),
                Attempt::HeldBy(Holder { process, host, .. }) => {
                    let folder = folder.display();
                    return Err(Error::input(format!(
                        "{folder}: process {process} on {host} is training there (see its lock-*.json); wait for it, or choose another folder"
                    )));
                }
                Attempt::Unclear => sleep(Duration::from_millis(250)),
            }
        }
    }

    /// Takes the lock of a folder; `None` if another process holds it or may hold it. Pass the same
    /// `seen` when trying again.
    pub fn try_take(folder: &Path, seen: &mut Seen) -> Result<Option<Self>> {
        Ok(match Self::attempt(folder, seen)? {
            Attempt::Taken(lock) => Some(lock),
            Attempt::HeldBy(_) | Attempt::Unclear => None,
        })
    }

    fn attempt(folder: &Path, seen: &mut Seen) -> Result<Attempt> {
        'again: loop {
            let before = locks(folder)?;
            let mut abandoned = vec![];
            for (_, path) in &before {
                match seen.judge(path) {
                    Judged::Abandoned(lock) => abandoned.push(lock),
                    Judged::Held(holder) => return Ok(Attempt::HeldBy(holder)),
                    Judged::Unclear => return Ok(Attempt::Unclear),
                    Judged::Gone => continue 'again,
                }
            }
            let number = before.last().map_or(1, |(number, _)| number + 1);
            let path = folder.join(format!("lock-{number:06}.json"));
            let holder = Holder::me();
            let file = match create(&path, &holder) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::writing(&path, error)),
            };
            let held = Held { folder: absolute(folder), path, token: holder.token.clone() };
            // Abandoned locks must be unchanged, else another process was faster.
            let as_seen = abandoned
                .iter()
                .all(|lock| fs::read(&lock.path).is_ok_and(|now| now == lock.bytes));
            let is_last = locks(folder)?.last().is_some_and(|(last, _)| *last == number);
            if !as_seen || !is_last || !held.is_own().unwrap_or(false) {
                let _ = fs::remove_file(&held.path);
                sleep(Duration::from_millis(u64::from(std::process::id() % 50)));
                continue;
            }
            for Abandoned { path, .. } in &abandoned {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        let _ = fs::remove_file(&held.path);
                        return Err(Error::writing(path, error));
                    }
                    _ => {}
                }
            }
            let may_wake = abandoned.iter().any(|lock| lock.may_wake);
            let lock = Self::hold(held, file, holder);
            if may_wake {
                sleep(BEAT);
            }
            return Ok(Attempt::Taken(lock));
        }
    }

    fn hold(held: Held, mut file: File, mut holder: Holder) -> Self {
        let (end, ended) = mpsc::channel();
        let beats = spawn(move || {
            while ended.recv_timeout(BEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                holder.beat += 1;
                // A missed heartbeat is ignored; the next follows. Writes to the opened file, so a
                // removed lock is not recreated.
                let _ = holder
                    .bytes()
                    .and_then(|bytes| file.rewind().and_then(|()| file.write_all(&bytes)))
                    .and_then(|()| file.sync_data());
            }
        });
        let held = Arc::new(held);
        let mut all = self::held();
        all.retain(|before| before.folder != held.folder);
        all.push(held.clone());
        drop(all);
        Self { held, end: Some(end), beats: Some(beats) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.end.take();
        if let Some(beats) = self.beats.take() {
            let _ = beats.join();
        }
        // A lost lock stays in the list, so that this process cannot change the folder any more,
        // for example with the last line of a log.
        if self.held.is_own().unwrap_or(false) {
            held().retain(|held| !Arc::ptr_eq(held, &self.held));
            let _ = fs::remove_file(&self.held.path);
        }
    }
}

fn create(path: &Path, holder: &Holder) -> std::io::Result<File> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let written = holder
        .bytes()
        .and_then(|bytes| file.write_all(&bytes))
        .and_then(|()| synced(file.sync_all()));
    written.map(|()| file).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_and_says_who() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let error = Lock::take(folder.path()).unwrap_err();
        assert!(
            error.exit_code() == 2
                && error.to_string().contains(&format!("process {} on", std::process::id())),
            "{error}"
        );
        drop(lock);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        Lock::take(folder.path()).unwrap();
    }

    #[test]
    fn the_lock_of_a_process_that_is_gone_does_not_hold() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = Holder {
            process: child.id(),
            began: began(child.id()).unwrap_or_default(),
            ..Holder::me()
        };
        child.wait().unwrap();
        create(&folder.path().join("lock-000007.json"), &gone).unwrap();
        drop(Lock::take(folder.path()).unwrap());
        // The process number was reused by another process.
        let other = Holder { began: "1".into(), ..Holder::me() };
        create(&folder.path().join("lock-000001.json"), &other).unwrap();
        Lock::take(folder.path()).unwrap();
    }

    #[test]
    fn many_at_once_get_it_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let gone = Holder { began: "1".into(), ..Holder::me() };
        create(&folder.path().join("lock-000007.json"), &gone).unwrap();
        let held: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        Lock::take(folder.path())
                            .map(|lock| (lock, sleep(Duration::from_millis(300))))
                            .is_ok()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(held, 1);
    }
}
