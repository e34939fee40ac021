"""Try files on the parsers for some time: python -m tests.fuzz [--seconds 60] [TARGET …].

Each target runs in a process of its own: coverage-guided by atheris where it is installed (the
extra `fuzz`), else drawn by Hypothesis. A file that let out anything but one of our errors is kept,
and named beside its target.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

#: Code whose branches guide atheris.
INSTRUMENTED = ["spikerec", "yaml", "json", "zipfile", "numpy.lib", "PIL", "h5py", "safetensors"]
#: A file is a hang when it takes longer, and too hungry when it takes more memory than the imports.
SECONDS_PER_FILE = 5
MEGABYTES = 1_024


def main() -> int:
    """Run the targets one after the other, and print what became of each as it ends."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help="parsers to try (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--findings", type=Path, default=Path("outputs/fuzz"))
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    has_atheris = importlib.util.find_spec("atheris") is not None
    if options.alone:
        (name,) = options.target
        run = _run_atheris if has_atheris else _run_hypothesis
        return run(name, options.seconds, options.findings)

    from tests.fuzz.parsers import BY_NAME

    if unknown := set(options.target) - BY_NAME.keys():
        parser.error(f"unknown target {', '.join(unknown)}: expected any of {', '.join(BY_NAME)}")
    options.findings.mkdir(parents=True, exist_ok=True)
    by = "atheris" if has_atheris else "Hypothesis (atheris is not installed: the extra `fuzz`)"
    _tell(f"files drawn by {by}", f"{'target':<12}{'files tried':>12}{'seconds':>9}  came out")
    failed = False
    for name in options.target or BY_NAME:
        began = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz", name, "--alone"]
        command += ["--seconds", str(options.seconds), "--findings", str(options.findings)]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
        output = done.stdout + done.stderr
        units = re.findall(r"number_of_executed_units: (\d+)", output)
        kept = re.findall(r"Test unit written to (\S+)", output)
        failed |= done.returncode != 0
        came_out = "nothing but results and our errors" if not done.returncode else _reason(output)
        count, seconds = units[-1] if units else "–", time.monotonic() - began
        _tell(f"{name:<12}{count:>12}{seconds:>9.0f}  {' '.join([came_out, *kept])}")
    return int(failed)


def _tell(*lines: str) -> None:
    """Print lines at once: a target takes its time."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _reason(output: str) -> str:
    """The line of a fuzzer's output that says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [
        line for line in lines if re.match(r"[\w.]*(Error|Exception|Warning)\b|.*ERROR:", line)
    ]
    return (telling or lines or ["nothing was printed"])[-1][:300]


def _run_atheris(name: str, seconds: int, findings: Path) -> int:
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        from tests.fuzz.parsers import BY_NAME
    parser = BY_NAME[name]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    imported = pages * os.sysconf("SC_PAGE_SIZE") >> 20
    with TemporaryDirectory() as corpus:
        for index, seed in enumerate(parser.seeds()):
            (Path(corpus) / f"seed-{index}").write_bytes(seed)
        arguments = [
            *(sys.argv[0], corpus, "-print_final_stats=1", f"-max_total_time={seconds}"),
            *(
                f"-timeout={SECONDS_PER_FILE}",
                f"-rss_limit_mb={imported + MEGABYTES}",
                "-max_len=65536",
            ),
            f"-artifact_prefix={findings}{os.sep}{name.replace(' ', '-')}-",
        ]
        atheris.Setup(arguments, lambda content: parser.try_on(content) and None)
        atheris.Fuzz()
    return 0


def _run_hypothesis(name: str, seconds: int, findings: Path) -> int:
    from hypothesis import HealthCheck, Phase, given, settings

    from tests.fuzz.parsers import BY_NAME
    from tests.fuzz.strategies import files

    parser = BY_NAME[name]
    until = time.monotonic() + seconds
    count = 0

    @settings(
        max_examples=200,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(content=files(parser))
    def trial(content: bytes) -> None:
        nonlocal count
        count += 1
        kept = findings / f"{name.replace(' ', '-')}-last"
        kept.write_bytes(content)  # before the trial: a crash of the process leaves it
        parser.try_on(content)

    while time.monotonic() < until:
        try:
            trial()
        except BaseException:
            print(f"Test unit written to {findings / f'{name}-last'}")  # noqa: T201
            raise
    (findings / f"{name.replace(' ', '-')}-last").unlink(missing_ok=True)
    print(f"number_of_executed_units: {count}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
