"""The `spikerec VERB …` command line.

Each module of `spikerec.apps` is a verb. One that has a `conf/VERB.yaml` is a Hydra app and offers
`run(config)`; the others offer `main(arguments)`. Nothing heavy is imported before the verb is
known, so that `spikerec --help` answers at once.
"""

from __future__ import annotations

import ast
import atexit
import difflib
import functools
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from spikerec import __version__, interpreter, terminal
from spikerec.errors import (
    TRACE_VARIABLE,
    fault_number,
    handled_before,
    is_about_arguments,
    one_line,
    printable,
)

#: Exit status of a command whose arguments cannot be; 1 is that of work which failed.
WRONG_ARGUMENTS = 2

#: Choices for a sweep in which a job fails.
ON_ERROR = ("continue", "stop", "retry")

#: Turns for which GNU's OpenMP, which PyTorch computes with, waits for more work: some half a
#: millisecond. By itself it waits 30 times as long, and takes a core from the threads that
#: `spikerec.kernels.threads` has given a part of the picture meanwhile.
SPIN_COUNT = "10000"

_log = logging.getLogger(__name__)


def main() -> None:
    """Entry point of the console script."""
    end_in_one_line("spikerec", _command)


def end_in_one_line(program: str, command: Callable[[Sequence[str]], None]) -> None:
    """Run a command with the words of the command line.

    Whatever goes wrong ends in one line and a status other than 0: 2 for arguments that cannot
    be, 1 for work that failed, 130 when interrupted.

    Args:
        program: its name, with which the line begins.
        command: takes the words.
    """
    terminal.install()
    interpreter.install()
    try:
        command(sys.argv[1:])
    except KeyboardInterrupt as interrupt:
        _end_interrupted(interrupt)
    except Exception as error:  # noqa: BLE001 (all of it ends here)
        _report(error, program=program)
    if (lost := terminal.lost_output()) is not None:
        _fail(f"done, but what it printed was lost: {one_line(lost)}", 1, program)


def _command(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return
    if arguments[0] == "--version":
        sys.stdout.write(f"spikerec {__version__}\n")
        return
    if arguments[0] in ("-sc", "--shell-completion"):
        _complete(arguments)
        return
    verb = arguments[0]
    if verb not in verbs():
        near = difflib.get_close_matches(verb, verbs(), 1)
        meant = f"did you mean {near[0]}? Expected" if near else "expected"
        _fail(f"unknown verb {verb!r}: {meant} one of {', '.join(verbs())} (spikerec --help).")
    _allow_files()
    _start(verb, arguments[1:])


def _allow_files() -> None:
    """Let this process open as many files as the system allows: shells begin with a few."""
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def verbs() -> list[str]:
    """The command's verbs: the modules of `spikerec.apps`."""
    return sorted(path.stem for path in _apps().glob("[!_]*.py"))


def _apps() -> Path:
    return Path(__file__).parent / "apps"


def _help() -> str:
    lines = [
        "spikerec: the experiment platform for spike-camera image reconstruction",
        "",
        "usage: spikerec VERB [option=value | --option value …]",
        "       spikerec VERB --help",
        "",
    ]
    for verb in verbs():
        lines.append(f"  {verb:<12} {_summary(verb)}")
    lines += ["", 'eval "$(spikerec -sc install=bash)" lets the shell complete commands.']
    lines += ["--config-dir=FOLDER adds your own YAML files: use only a folder that you trust."]
    lines += [f"{TRACE_VARIABLE}=1 prints the traceback of an error.", ""]
    return "\n".join(lines)


def _summary(verb: str) -> str:
    """First line of what a verb says of itself, without its example."""
    module = ast.parse((_apps() / f"{verb}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(module) or "").splitlines()[0].split(": spikerec ")[0]


def _complete(arguments: Sequence[str]) -> None:
    """Answer a shell that asks what a line may go on with, by Hydra's own completion.

    Hydra knows the words of one app: the verb is taken out of the line that it is asked about. The
    app itself is not imported, since someone waits at the keyboard.
    """
    from spikerec.configs import config_dir

    asked = arguments[1] if len(arguments) == 2 else ""
    if not asked.startswith(("install=", "uninstall=", "query=")):
        _fail(
            f"-sc expects install=bash, uninstall=bash or query=bash, found {asked or 'nothing'}."
        )
    verb, line = "train", os.environ.get("COMP_LINE")  # to install, any verb does
    if line is not None:
        program, verb, rest = (*line.split(maxsplit=2), "", "", "")[:3]
        if not rest and not line.endswith(f"{verb} "):  # the verb is still being typed
            sys.stdout.write(" ".join(verbs()) + "\n")
            return
        os.environ["COMP_LINE"] = f"{program} {rest}"
    if (config_dir() / f"{verb}.yaml").exists():
        _start_hydra(verb, arguments)


def limit_spinning() -> None:
    """Set `SPIN_COUNT`, unless the environment does: before PyTorch is imported."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def _start(verb: str, arguments: Sequence[str]) -> None:
    """Run a verb: the words are read before the modules that do the work are imported."""
    from spikerec.configs import config_dir

    limit_spinning()
    if not (config_dir() / f"{verb}.yaml").exists():
        importlib.import_module(f"spikerec.apps.{verb}").main(list(arguments))
        return
    from spikerec.options import help_text
    from spikerec.words import words_of

    if not {"-h", "--help"}.isdisjoint(arguments):
        sys.stdout.write(help_text(verb, _summary(verb)))
        return
    _start_hydra(verb, words_of(verb, arguments, _recordings if verb == "reconstruct" else None))


def _recordings(name: str, folder: str | None) -> list[str]:
    """The recordings that a name on the command line refers to, under a value of `folder`."""
    from spikerec.spikes.recordings import find_recordings

    return [str(path) for path in find_recordings([name], folder)]


def _start_hydra(verb: str, words: Sequence[str]) -> None:
    """Compose the verb's configuration and run it.

    Hydra sees the verb's own words; the app sees the whole command line again, because Lightning
    starts the other processes of a node with it.
    """
    import hydra
    from omegaconf import OmegaConf

    from spikerec.configs import check_own_configuration, checked_jobs, checked_logging, config_dir
    from spikerec.overrides import folder_name, run_name

    OmegaConf.register_new_resolver("run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    # Hydra knows no folder yet where it only shows the configuration (--cfg job).
    OmegaConf.register_new_resolver(
        "own_folder", lambda made, planned: made or planned, replace=True
    )
    # Lightning 2.6 meets PyTorch 2.15 with a deprecation of its own at every start.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors arrive here, and are printed in one line
    whole = sys.argv
    task: Any = functools.partial(_run_with, whole, verb)
    task.__module__ = f"spikerec.apps.{verb}"  # Hydra names the job by it
    sys.argv = [whole[0], *words]
    try:
        check_own_configuration(verb, list(words))
        start = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=verb)
        with checked_jobs(), checked_logging(), _kept_returns() as returned:
            start(task)()
        _tell_failures(returned)
    finally:
        sys.argv = whole


def _run_with(whole: list[str], verb: str, config: Any) -> Any:  # noqa: ANN401
    """Run a verb, or one job of its sweep, which may be in a process of a launcher's own."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import open_dict

    sys.argv = whole
    swept = HydraConfig.get().mode == RunMode.MULTIRUN
    begun = False
    with open_dict(config):  # about the sweep, and no part of what a job computes
        on_error = config.pop("on_error", None)
    try:
        importlib.import_module("spikerec.apps._checks").check(verb, config)
        begun = True
        run = importlib.import_module(f"spikerec.apps.{verb}").run
        if swept and on_error is not None:
            return _run_job(run, config, on_error)
        return run(config)
    except Exception as error:  # noqa: BLE001 (here, as Hydra would add lines of its own)
        if swept and on_error is None and os.environ.get(TRACE_VARIABLE) != "1":
            return FailedJob(tuple(HydraConfig.get().overrides.task), one_line(error))
        is_asked = not begun and fault_number(error) is None
        _report(error, WRONG_ARGUMENTS if is_asked else None)
    finally:
        _remove_if_empty(config)


@dataclass(frozen=True)
class FailedJob:
    """The return value of a failed job of a sweep, which does not end the others.

    Attributes:
        words: the job's `key=value` words.
        line: the error.
    """

    words: tuple[str, ...]
    line: str


@contextmanager
def _kept_returns() -> Iterator[list[Any]]:
    """Keep what the jobs of a sweep return, wherever a launcher runs them: Hydra drops it."""
    from hydra._internal.hydra import Hydra

    sweep = Hydra.multirun
    returned: list[Any] = []

    @functools.wraps(sweep)
    def kept(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 (Hydra's own)
        batches = sweep(*arguments, **named)
        for batch in batches if isinstance(batches, list) else []:
            returned.extend(getattr(job, "_return_value", None) for job in batch)
        return batches

    Hydra.multirun = kept
    try:
        yield returned
    finally:
        Hydra.multirun = sweep


def _tell_failures(returned: Sequence[Any]) -> None:
    """End with a line for each failed job and the count of them, if there are any."""
    failed = [one for one in returned if isinstance(one, FailedJob)]
    for one in failed:
        sys.stderr.write(f"spikerec: {printable(' '.join(one.words))}: {one.line}\n")
    if failed:
        jobs = f"{len(returned)} job{'s' if len(returned) > 1 else ''}"
        _fail(f"SweepError: {len(failed)} of {jobs} failed: the same command tries them again.", 1)


def _remove_if_empty(config: Any) -> None:  # noqa: ANN401
    """Remove the folder that Hydra made for a command which then wrote nothing into it.

    The folders above it go too, as far as that of all outputs, where nothing else is in them.
    """
    from omegaconf import OmegaConf

    run, outputs = (OmegaConf.select(config, key) for key in ("run", "paths.outputs"))
    if not isinstance(run, str) or not isinstance(outputs, str):  # a command that was refused
        return
    folder, top = Path(run), Path(outputs).resolve()
    while folder.is_relative_to(top) and folder != Path.cwd():
        try:
            folder.rmdir()
        except OSError:  # it holds something, or is gone
            return
        folder = folder.parent


def _run_job(run: Callable[..., Any], config: Any, on_error: str) -> Any:  # noqa: ANN401
    """One job of a sweep, whose failure is written down in its folder.

    Then, by `on_error`: the sweep goes on (`continue`); the job is tried once more first (`retry`),
    from its last checkpoint; or the sweep ends (`stop`).
    """
    from spikerec.sweeps import clear_failure, record_failure

    if on_error not in ON_ERROR:
        _fail(f"ConfigError: on_error must be one of {', '.join(ON_ERROR)}, found {on_error}.")
    folder = Path(config.run)
    for _attempt in range(2 if on_error == "retry" else 1):
        try:
            result = run(config)
        except Exception as error:  # noqa: BLE001 (whatever ends a job must not end the sweep)
            record_failure(folder, error)
            _log.error("job failed: %s: %s", folder.name, one_line(error))
            if on_error == "stop":
                _report(error, 1)
        else:
            clear_failure(folder)
            return result
    return None


def _end_interrupted(interrupt: KeyboardInterrupt) -> NoReturn:
    """Say what an interruption left, and stop."""
    told = str(interrupt) or "interrupted: finished files are kept, none is left half-written."
    sys.stdout.write(f"{told}\n")
    _leave(130)


def _report(error: BaseException, status: int | None = None, program: str = "spikerec") -> NoReturn:
    """Print an error in one line and stop; with its trace where that was asked for.

    An error that was raised while Ctrl-C was being handled is due to it, and ends as it does.
    """
    for before in handled_before(error):
        if isinstance(before, KeyboardInterrupt):
            _end_interrupted(before)
    from spikerec.configs import renamed_key

    if os.environ.get(TRACE_VARIABLE) == "1":
        raise error
    renamed = renamed_key(str(error))
    line = f"ConfigError: {renamed}" if renamed else one_line(error)
    _fail(line, status or (WRONG_ARGUMENTS if is_about_arguments(error) else 1), program)


def _fail(message: str, status: int = WRONG_ARGUMENTS, program: str = "spikerec") -> NoReturn:
    sys.stderr.write(f"{program}: {message}\n")
    _leave(status)


def _leave(status: int) -> NoReturn:
    """Stop, with nothing logged after the last line: PyTorch has statistics for its exit.

    It keeps them to itself once it is imported, which an interruption can prevent.
    """
    atexit.register(logging.disable)
    sys.exit(status)
