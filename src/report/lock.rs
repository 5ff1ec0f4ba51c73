//! One training a folder: a lock that tells who holds it and does not outlive them.
//!
//! Locks of the operating system do not work on every shared file system. Here a lock is a file with a number, which can be created
//! only once; the highest number holds. Its holder writes a new beat into it every few seconds. Who finds a lock of a process of the
//! same machine asks that machine whether it still runs; a lock from elsewhere is watched for a while. An abandoned lock is not
//! removed but outnumbered, which only one can do. No clock is compared with another.

use super::folder::write_atomically;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::mpsc,
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

/// Whether a file of that name is a lock.
pub fn is_lock(name: &str) -> bool {
    number(name).is_some()
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix("lock-")?.strip_suffix(".json")?.parse().ok()
}

/// The lock that holds, by its number.
fn highest(folder: &Path) -> Result<Option<(u64, PathBuf)>> {
    let failed = |error: std::io::Error| Error::reading(folder, &error);
    let mut highest: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let number = path.file_name().and_then(|name| number(&name.to_string_lossy()));
        if let Some(number) = number.filter(|number| highest.as_ref().is_none_or(|(other, _)| number > other)) {
            highest = Some((number, path));
        }
    }
    Ok(highest)
}

/// Time between beats.
const BEAT: Duration = Duration::from_secs(5);
/// A lock from elsewhere without a beat for so long is taken for abandoned. File systems may show files half a minute late.
const SILENCE: Duration = Duration::from_secs(60);

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    host: String,
    process: u32,
    /// When the process began, in the machine's own measure: numbers of processes come again.
    began: String,
    beat: u64,
}

impl Holder {
    fn me() -> Self {
        let process = std::process::id();
        Self { host: host(), process, began: began(process).unwrap_or_default(), beat: 0 }
    }

    /// Whether it runs on this machine; nothing where that cannot be told.
    fn runs(&self) -> Option<bool> {
        (self.host == host() && Path::new("/proc/self/stat").exists()).then(|| began(self.process).is_some_and(|began| began == self.began))
    }
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    name.map_or_else(|| "unknown".into(), |name| name.trim().to_owned())
}

/// The start time of a process that runs, where the machine tells it.
fn began(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold blanks and brackets; what follows its last bracket does not. A zombie runs no more.
    let rest: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (rest.first() != Some(&"Z")).then(|| rest.get(19).map(|began| (*began).to_owned())).flatten()
}

/// A held lock; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    end: Option<mpsc::Sender<()>>,
    beats: Option<JoinHandle<()>>,
}

/// Locks of other machines as they were last seen, and since when they have not changed.
#[derive(Debug, Default)]
pub struct Seen(HashMap<PathBuf, (Vec<u8>, Instant)>);

/// What a lock that is there says.
enum Judged {
    /// It is gone meanwhile.
    Gone,
    /// Its holder is gone; what stands in it.
    Abandoned(Vec<u8>),
    /// Its holder is there.
    Held(Holder),
    /// Time will tell.
    Unclear,
}

impl Seen {
    fn judge(&mut self, path: &Path) -> Judged {
        let Ok(bytes) = fs::read(path) else { return Judged::Gone };
        let holder: Option<Holder> = serde_json::from_slice(&bytes).ok();
        match holder.as_ref().map(|holder| (holder, holder.runs())) {
            Some((holder, Some(true))) => return Judged::Held(holder.clone()),
            Some((_, Some(false))) => return Judged::Abandoned(bytes),
            _ => {}
        }
        // From elsewhere, or torn while it was created: its holder is there if it changes.
        let silence = if holder.is_some() { SILENCE } else { BEAT };
        match self.0.get(path) {
            Some((before, since)) if *before == bytes && since.elapsed() >= silence => Judged::Abandoned(bytes),
            Some((before, _)) if *before == bytes => Judged::Unclear,
            before => {
                let beats = before.is_some();
                self.0.insert(path.to_path_buf(), (bytes, Instant::now()));
                holder.filter(|_| beats).map_or(Judged::Unclear, Judged::Held)
            }
        }
    }
}

impl Lock {
    /// Takes the lock of a folder, or says who holds it. One of another machine is watched for a while.
    pub fn take(folder: &Path) -> Result<Self> {
        let mut seen = Seen::default();
        loop {
            if let Some(lock) = Self::try_take(folder, &mut seen)? {
                return Ok(lock);
            }
            let Some((_, path)) = highest(folder)? else { continue };
            if let Judged::Held(Holder { process, host, .. }) = seen.judge(&path) {
                let folder = folder.display();
                return Err(Error::input(format!(
                    "{folder}: process {process} on {host} is training there ({} says so); wait for it, or choose another folder",
                    path.display()
                )));
            }
            sleep(Duration::from_millis(250));
        }
    }

    /// Takes the lock of a folder unless another holds it, or may hold it: `seen` is for asking again.
    pub fn try_take(folder: &Path, seen: &mut Seen) -> Result<Option<Self>> {
        loop {
            let before = match highest(folder)? {
                None => None,
                Some((number, path)) => match seen.judge(&path) {
                    Judged::Abandoned(bytes) => Some((number, path, bytes)),
                    Judged::Gone => continue,
                    Judged::Held(_) | Judged::Unclear => return Ok(None),
                },
            };
            let number = before.as_ref().map_or(1, |(number, _, _)| number + 1);
            let path = folder.join(format!("lock-{number:06}.json"));
            let holder = Holder::me();
            match create(&path, &holder) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::writing(&path, &error)),
            }
            // What was outnumbered must still be there, or others were faster.
            let as_seen = before.as_ref().is_none_or(|(_, path, bytes)| fs::read(path).is_ok_and(|now| now == *bytes));
            if !as_seen || highest(folder)?.is_none_or(|(highest, _)| highest != number) {
                let _ = fs::remove_file(&path);
                sleep(Duration::from_millis(u64::from(std::process::id() % 50)));
                continue;
            }
            if let Some((_, old, _)) = before {
                let _ = fs::remove_file(old);
            }
            return Ok(Some(Self::hold(path, holder)));
        }
    }

    fn hold(path: PathBuf, mut holder: Holder) -> Self {
        let (end, ended) = mpsc::channel();
        let beats = path.clone();
        let beats = spawn(move || {
            while ended.recv_timeout(BEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                holder.beat += 1;
                // A missed beat is made up for by the next.
                let _ = serde_json::to_vec(&holder).map(|bytes| write_atomically(&beats, &bytes));
            }
        });
        Self { path, end: Some(end), beats: Some(beats) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.end.take();
        if let Some(beats) = self.beats.take() {
            let _ = beats.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

fn create(path: &Path, holder: &Holder) -> std::io::Result<()> {
    let mut file = fs::File::options().write(true).create_new(true).open(path)?;
    file.write_all(&serde_json::to_vec(holder)?)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_and_says_who() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let error = Lock::take(folder.path()).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(&format!("process {} on", std::process::id())), "{error}");
        drop(lock);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        Lock::take(folder.path()).unwrap();
    }

    #[test]
    fn the_lock_of_a_process_that_is_gone_does_not_hold() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = Holder { process: child.id(), began: began(child.id()).unwrap_or_default(), ..Holder::me() };
        child.wait().unwrap();
        create(&folder.path().join("lock-000007.json"), &gone).unwrap();
        drop(Lock::take(folder.path()).unwrap());
        // The number lives again, but it is another process.
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
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| Lock::take(folder.path()).map(|lock| (lock, sleep(Duration::from_millis(300)))).is_ok())).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(held, 1);
    }
}
