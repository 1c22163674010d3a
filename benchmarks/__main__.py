"""`make bench`: every benchmark, one after the other, as medians of several runs. Takes about fifteen minutes.

python -m benchmarks [NAME ...]      only these
"""

import subprocess
import sys
import tempfile

BENCHMARKS: dict[str, list[str]] = {
    "codec": [],
    "matching": [],
    "credit": [],
    "order_gateway": [],
    "marketdata": [],
    "fix": [],
    "fix_venue": ["--dir"],
    "web": ["--dir"],
    "web_orders": [],
    "web_venue": ["--dir"],
    "journal": ["--dir"],
    "ordering": ["--dir"],
    "failover": [],
    "catch_up": ["--dir"],
    "replace": ["--dir"],
    "idle": [],
    "replay": ["--dir"],
    "attach": ["--dir"],
    "one_process": [],
    "shards": [],
    "duplicates": [],
    "venue": ["--dir"],
    "floods": ["--dir"],
    "containers": [],
}


def main() -> int:
    """Run what was asked for, or all; the exit code is 1 if any failed."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"there is no benchmark {', '.join(unknown)}: expected {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    failed = 0
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=".") as scratch:
            options = [scratch] if BENCHMARKS[name] else []
            command = [sys.executable, "-m", f"benchmarks.{name}", *BENCHMARKS[name], *options]
            failed += subprocess.run(command, check=False).returncode != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
