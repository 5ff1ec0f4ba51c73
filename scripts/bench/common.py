"""What the benchmarks of this folder share: options, running and timing in turn, and a table of ratios.

A ratio is the peer's time over Lumisift's in the same round: above 1, Lumisift is faster. A table has the median over the rounds and
the lowest and highest. "Others" is what the rest of the machine took of all cores meanwhile: a round in which that was more than a
tenth for either of the two does not count, unless no round was quiet; then all count, and the row is marked "noisy".
"""
import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORES = sorted(os.sched_getaffinity(0))
QUIET = 0.1
PACKAGES = ["torch", "jax", "tensorflow", "tensorflow_cpu", "keras", "onnxruntime", "numpy", "pandas", "pyarrow"]


def parser(doc, rounds):
    """The options that all benchmarks have."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lumisift", type=Path, default=ROOT / "target/release/lumisift", metavar="PATH", help="the program to measure")
    options.add_argument("--rounds", type=int, default=rounds)
    options.add_argument("--out", type=Path, metavar="FILE", help="write the table as JSON, too")
    options.add_argument("--worker", help=argparse.SUPPRESS)
    return options


@contextmanager
def workplace(options):
    """A folder for what is made on the way, and a copy of the program there: a build meanwhile does not change what is measured."""
    if not options.lumisift.is_file():
        sys.exit(f"{options.lumisift} is not there; build it with: cargo build --release")
    with tempfile.TemporaryDirectory() as folder:
        options.lumisift = Path(shutil.copy2(options.lumisift, folder))
        yield Path(folder)


def installed(package):
    return importlib.util.find_spec(package) is not None


def settings(keys):
    """`--set` for each key; strings, lists and numbers are the same in JSON and TOML."""
    return [part for key, value in keys.items() for part in ("--set", f"{key}={json.dumps(value, ensure_ascii=False)}")]


def metsig(options, folder):
    """Data like the METSig notebook's, and the keys that tell its config where they are."""
    place = folder / "metsig"
    run([options.lumisift, "synth", "metsig", place])
    good, *bad = [str(place / f"{name}.csv") for name in ("good", "bad1", "bad2")]
    return place, {"data.train": [good], "data.test": bad}


# Processes.


def pinned(cores):
    return ["taskset", "-c", ",".join(map(str, cores))] if cores else []


def run(command, cores=None, environment=None):
    """Runs a command to its end; returns what it printed. One that fails raises, with the last it said."""
    out, _ = measure(command, cores, environment)
    return out


def measure(command, cores=None, environment=None):
    """Runs a command; returns its output, and what it took: its wall seconds as "value", CPU seconds, the share others had of all cores."""
    [[out], taken] = measure_together([command], [cores], environment)
    return out, taken


def measure_together(commands, cores, environment=None):
    """Runs commands side by side, each on its own cores; the wall time is from the first start to the last end."""
    environment = {**os.environ, **(environment or {})}
    files = [(tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")) for _ in commands]
    busy, start = busy_seconds(), time.perf_counter()
    processes, cpu = [], 0.0
    try:
        for command, some, (out, err) in zip(commands, cores, files):
            command = pinned(some) + [str(part) for part in command]
            processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err))
        for process in processes:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu += usage.ru_utime + usage.ru_stime
        wall, busy = time.perf_counter() - start, busy_seconds() - busy
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                process.wait()
    texts = []
    for process, command, (out, err) in zip(processes, commands, files):
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            said = (err.read().strip() or "nothing").splitlines()[-3:]
            raise RuntimeError(f"{Path(command[0]).name} ended with {process.returncode}: {' '.join(said)}")
        texts.append(out.read())
        out.close()
        err.close()
    others = max(0.0, busy - cpu - 0.02)  # less a tick or two of the system's clock, which much of a short run would be
    return texts, {"value": wall, "cpu": cpu, "others": others / (wall * os.cpu_count())}


def busy_seconds():
    """CPU seconds that all processes of the machine have had."""
    user, nice, system, _idle, _waiting, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Worker:
    """A peer in a process of its own that imports and warms up once, then waits for its turns.

    It reads a line of JSON for each turn and answers with one. It has no work between turns.
    """

    def __init__(self, script, name, cores=None, environment=None):
        command = [*pinned(cores), sys.executable, str(script), "--worker", name]
        self.log = tempfile.TemporaryFile("w+")
        environment = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def ask(self, question):
        busy, cpu, start = busy_seconds(), self.cpu_seconds(), time.perf_counter()
        try:
            print(json.dumps(question), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait()
            self.log.seek(0)
            said = (self.log.read().strip() or "nothing").splitlines()[-1]
            raise RuntimeError(f"ended with {self.process.returncode}: {said}")
        wall = time.perf_counter() - start
        others = busy_seconds() - busy - (self.cpu_seconds() - cpu)
        return {**json.loads(line), "others": max(0.0, others) / (wall * os.cpu_count())}

    def cpu_seconds(self):
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            return 0.0
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # of the process and of its children that ended

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def answer_questions(answer):
    """What a worker does: answers the questions of the benchmark one after the other. What libraries print goes to the log."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=replies, flush=True)


# Turns and tables.


class Table:
    """Ratios by subject and peer, printed as they come."""

    def __init__(self, options):
        self.options = options
        self.rows, self.skipped, self.notes = [], [], []
        self.versions = {"lumisift": run([options.lumisift, "--version"]).split()[-1], "python": platform.python_version()}
        for package in PACKAGES:
            try:
                self.versions[package.removesuffix("_cpu")] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                pass

    def skip(self, peer, why):
        self.skipped.append(f"{peer}: {why}")
        say(f"skipped {peer}: {why}")

    def note(self, text):
        self.notes.append(text)

    def take_turns(self, subject, programs, unit, goals=None, ours="Lumisift", rounds=None):
        """Runs all programs in each round, one after the other, and adds a row for each peer.

        `programs`: by name, what runs and returns {"value": …, "others": …}, a time. The program named `ours` is what the others are
        held against. A peer that fails is left out, with its word. `goals`: the least ratio wanted, by peer. Returns all results.
        """
        results = {name: [] for name in programs}
        for turn in range(1, (rounds or self.options.rounds) + 1):
            for name, program in programs.items():
                if name not in results:
                    continue
                try:
                    result = program()
                except RuntimeError as error:
                    self.skip(f"{subject}, {name}", str(error))
                    if name == ours:
                        return {}
                    del results[name]
                    continue
                results[name].append(result)
                say(f"{subject}, round {turn}: {name} {number(result['value'])} {unit}, others {result['others']:.0%}")
        for name, some in results.items():
            if name != ours:
                self.add(subject, name, results[ours], some, unit, (goals or {}).get(name))
        return results

    def add(self, subject, peer, ours, theirs, unit, goal=None):
        pairs = list(zip(ours, theirs))
        quiet = [pair for pair in pairs if max(one["others"] for one in pair) <= QUIET]
        counted = quiet or pairs
        ratios = [theirs["value"] / ours["value"] for ours, theirs in counted]
        ratio = statistics.median(ratios)
        self.rows.append({
            "subject": subject,
            "peer": peer,
            "unit": unit,
            "lumisift": statistics.median(ours["value"] for ours, _ in counted),
            "theirs": statistics.median(theirs["value"] for _, theirs in counted),
            "ratio": ratio,
            "low": min(ratios),
            "high": max(ratios),
            "rounds": len(pairs),
            "quiet": len(quiet),
            "goal": goal,
            "met": None if goal is None else ratio >= goal,
        })
        self.write()

    def finish(self):
        print_table(self.write())

    def write(self):
        """Called after every row, so that a benchmark that is stopped leaves what it has."""
        result = {
            "when": time.strftime("%Y-%m-%d"),
            "machine": machine(),
            "versions": self.versions,
            "rows": self.rows,
            "skipped": self.skipped,
            "notes": self.notes,
        }
        if self.options.out:
            self.options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        return result


def say(text):
    """Progress, on standard error: the table alone is the output."""
    print(text, file=sys.stderr, flush=True)


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def machine():
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    flags = next((line.split() for line in info if line.startswith("flags")), [])
    vectors = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "no AVX")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    found = {"cpu": model, "vectors": vectors, "cores": len(CORES), "memory_gib": round(memory), "load": os.getloadavg()[0]}
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        found["gpu"] = subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    return found


def print_table(result):
    where = result["machine"]
    print(f"{result['when']}  {where['cpu']} ({where['vectors']}), {where['cores']} cores, {where['memory_gib']} GiB", end="")
    print(f", {where['gpu']}" if "gpu" in where else "")
    print(", ".join(f"{name} {version}" for name, version in result["versions"].items()))
    headings = ["subject", "peer", "lumisift", "peer's", "ratio", "spread", "rounds", "goal"]
    cells = [headings]
    for row in result["rows"]:
        goal = "" if row["goal"] is None else f"{row['goal']:g} {'met' if row['met'] else 'missed'}"
        rounds = f"{row['quiet']} of {row['rounds']}" if row["quiet"] else f"{row['rounds']} noisy"
        times = [f"{number(row[key])} {row['unit']}" for key in ("lumisift", "theirs")]
        cells.append([row["subject"], row["peer"], *times, f"{row['ratio']:.2f}", f"{row['low']:.2f}–{row['high']:.2f}", rounds, goal])
    widths = [max(len(line[column]) for line in cells) for column in range(len(headings))]
    for line in cells:
        left = [cell.ljust(width) for cell, width in zip(line[:2], widths)]
        right = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:])]
        print("  ".join(left + right).rstrip())
    for text in result["notes"]:
        print(text)
    for text in result["skipped"]:
        print(f"skipped  {text}")
    sys.stdout.flush()
