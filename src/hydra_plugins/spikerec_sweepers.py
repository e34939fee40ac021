"""Sweepers of `spikerec train -m`: grid, random, Optuna.

Hydra finds sweepers in this namespace only. All three end with the table of `spikerec.sweeps`, in
OUTPUTS/sweeps/NAME, whatever became of the jobs. Jobs themselves are continued, skipped and retried
by their folders, so a sweeper keeps no ledger: the same command again does what is left.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import re
import shlex
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from spikerec.configs import plain
from spikerec.errors import ConfigError, SweepError
from spikerec.extras import require
from spikerec.overrides import job_name, run_name, text_words

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from spikerec.sweeps import Job

#: Environment variable that names a job's sweep, for its loggers.
SWEEP_VARIABLE = "SPIKEREC_SWEEP"

#: The launcher that runs jobs one after the other in this process.
THIS_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"

#: A reference to another key, in `${…}`.
_REFERENCE = re.compile(r"\$\{([^}]+)\}")

#: The digest at the end of a name, of the words that it does not show.
_DIGEST = re.compile(r"-[0-9a-f]{8}$")

#: Digits of a number drawn from an interval: it becomes a part of a folder's name.
DRAWN_DIGITS = 4

#: Columns of a terminal that no table needs.
MOST_COLUMNS = 10_000


class TabledSweeper(Sweeper):  # type: ignore[misc]  # Hydra is untyped
    """Base: launch jobs in batches, then tabulate them.

    Args:
        params: key → values to sweep over, in Hydra's syntax; the command line's replace them.
    """

    def __init__(self, params: Mapping[str, Any] | None) -> None:
        self.params = dict(params or {})
        self.jobs: list[Job] = []
        self._settings: dict[Path, dict[str, Any] | None] = {}  # by a job's folder

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra hands over the sweep's configuration."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run all jobs, print the table, and end in an error where jobs failed.

        Raises:
            SweepError: jobs failed; the table names them.
        """
        words = [f"{key}={value}" for key, value in self.params.items()] + arguments
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        # by key: what the command line says of a key replaces the file's values
        overrides = {item.get_key_element(): item for item in parser.parse_overrides(words)}
        fixed = [item.input_line for item in overrides.values() if not item.is_sweep_override()]
        swept = {key: item for key, item in overrides.items() if item.is_sweep_override()}
        self.varying = set(swept)
        self.name = sweep_name(arguments)
        self.folder = Path(self.config.paths.outputs) / "sweeps" / self.name
        os.environ[SWEEP_VARIABLE] = self.name  # whatever process a launcher runs the jobs in
        try:
            self.search([word for word in fixed if word is not None], swept)
        finally:
            del os.environ[SWEEP_VARIABLE]
            self._summarise()
        failed = sum(job.outcome() == "failed" for job in self.jobs)
        if failed:
            raise SweepError(
                f"{failed} of {len(self.jobs)} jobs failed: {self.folder / 'table.md'} says why. "
                "The same command tries them again."
            )

    @abstractmethod
    def search(self, fixed: list[str], swept: Mapping[str, Override]) -> None:
        """Launch every job.

        Args:
            fixed: words that all jobs share.
            swept: key → what to vary.
        """

    def compose(self, words: Sequence[str]) -> Job:
        """The job of these words. That its configuration can be composed is checked here."""
        from spikerec.sweeps import Job

        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(words))
        with open_dict(config.hydra.job):
            config.hydra.job.num = len(self.jobs)
            config.hydra.job.id = f"{config.hydra.job.name}_{len(self.jobs)}"
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(config)
        try:
            self.root = Path(config.hydra.sweep.dir)
            job = Job(tuple(words), self.root / self._name(config, words))
            self._settings[job.folder] = _settings(config, job.folder)
            return job
        finally:
            HydraConfig.instance().cfg = before

    def _name(self, config: DictConfig, words: Sequence[str]) -> str:
        """The name of a job's folder: jobs that differ never share one."""
        raw = OmegaConf.to_container(config, resolve=False)
        assert isinstance(raw, dict)
        written = str(raw["name"])
        if written.startswith("${run_name:"):  # nobody chose a name
            name = run_name(words, self.varying)
        else:
            told = {*_REFERENCE.findall(written)}
            hidden = {key for key in self.varying if told.isdisjoint(_references(key))}
            name = job_name(config.name, words, hidden)
        return _name_there_is(self.root, name)

    def _started(self, job: Job) -> list[str]:
        """The words that start a job, its own name among them."""
        words = [word for word in job.overrides if not word.startswith("name=")]
        name = f"name={job.folder.relative_to(self.root).as_posix()}"
        return [*words, *text_words([name], sweeps=False)]

    def launch(self, jobs: Sequence[Job]) -> list[float | None]:
        """Run jobs side by side or one by one, as the launcher does; their scores."""
        first = len(self.jobs)
        self.jobs += jobs
        returned = self.launcher.launch([self._started(job) for job in jobs], initial_job_idx=first)
        return [job.return_value for job in returned]

    def launch_unsettled(self, jobs: Sequence[Job]) -> None:
        """Launch the jobs that no command before found finished (`spikerec.sweeps.settled`).

        A launcher that starts jobs on other machines launches all: these are not looked at here.
        """
        from spikerec.sweeps.settled import Ledger

        if self.config.hydra.launcher._target_ != THIS_PROCESS:
            self.launch(jobs)
            return
        ledger = Ledger(self.folder)
        known, finished = ledger.read(), self._finished(jobs)
        waiting = [job for job in jobs if finished.get(job.folder, "") != known.get(job.folder)]
        for job in jobs:
            if job not in waiting:
                sys.stdout.write(f"finished before, skipped: {job.folder}\n")
        first = len(self.jobs)
        self.jobs += jobs
        if waiting:
            self.launcher.launch([self._started(job) for job in waiting], initial_job_idx=first)
            ledger.add(self._finished(waiting))

    def _finished(self, jobs: Sequence[Job]) -> dict[Path, str]:
        """Folder → digest of what was asked for and found, of the jobs that are finished."""
        from spikerec.sweeps.settled import Look

        look, digests = Look(), {}
        for job in jobs:
            settings = self._settings[job.folder] if job.outcome() == "finished" else None
            asked = None if settings is None else look.asked(settings)
            if asked is not None and (digest := asked.finished(job)) is not None:
                digests[job.folder] = digest
        return digests

    def _summarise(self) -> None:
        import rich
        from rich.text import Text

        from spikerec.sweeps import summarise
        from spikerec.sweeps.table import notes, readable

        if not self.jobs:
            return
        table = summarise(self.jobs, self.folder)
        console = rich.get_console()
        console.print(Text(self.name, style="italic"), soft_wrap=True)
        console.print(fitting_view(console, *readable(table)))
        places = [f"table: {self.folder / 'table.md'}"]
        if any(job.tests() for job in self.jobs):
            results = shlex.quote(f"results={self.config.paths.results}")
            places.append(f"compare the tests: spikerec leaderboard {results}")
        for note in [*notes(self.jobs), *places]:
            console.print(Text(note), soft_wrap=True)  # a path stays whole
        self._log(table)

    def _log(self, table: pd.DataFrame) -> None:
        """Give the table to W&B, in a run of its own beside the jobs', where they log there."""
        if "wandb" not in (self.config.get("logger") or ()):
            return
        from spikerec.training.wandb_log import log_table_where_chosen

        log_table_where_chosen(
            self.config.get("logger"),
            "ablation",
            table,
            self.folder,
            group=self.name,
            job_type="ablation",
        )


class Grid(TabledSweeper):
    """Every combination of the swept values, in order; the last key varies fastest."""

    def search(self, fixed: list[str], swept: Mapping[str, Override]) -> None:
        """See `TabledSweeper.search`."""
        for key, item in swept.items():
            if not item.is_discrete_sweep():
                raise ConfigError(
                    f"{key} is swept over an interval, which a grid cannot go through: list "
                    "values, or choose hydra/sweeper=random or optuna."
                )
        choices = [[f"{key}={v}" for v in discrete(item)] for key, item in swept.items()]
        self.launch_unsettled(
            [self.compose([*fixed, *words]) for words in itertools.product(*choices)]
        )


class Random(TabledSweeper):
    """Combinations drawn at random from lists, ranges and intervals; the same again for a seed.

    Args:
        params: as in `TabledSweeper`.
        samples: how many.
        seed: of the draws. More samples with the same seed keep those there were.
    """

    def __init__(self, params: Mapping[str, Any] | None, samples: int, seed: int) -> None:
        super().__init__(params)
        self.samples = samples
        self.seed = seed

    def search(self, fixed: list[str], swept: Mapping[str, Override]) -> None:
        """See `TabledSweeper.search`; a combination drawn twice runs once."""
        drawn = dict.fromkeys(
            tuple(f"{key}={draw(item, f'{self.seed}/{k}/{key}')}" for key, item in swept.items())
            for k in range(self.samples)
        )
        self.launch_unsettled([self.compose([*fixed, *words]) for words in drawn])


class Optuna(TabledSweeper):
    """A search that learns from its trials (Akiba et al., KDD 2019).

    The study is stored in OUTPUTS/sweeps/NAME/study.journal, a file that processes on many machines
    may append to. The same command again continues it: trials that were killed or failed are tried
    again with their values, and so continue in their folders; then new ones, up to `trials` in all.

    Args:
        params: as in `TabledSweeper`.
        trials: of the study, all calls together.
        parallel: trials started at once, for launchers that run jobs side by side.
        sampler: makes the sampler from a seed.
        seed: of the sampler.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None,
        trials: int,
        parallel: int,
        sampler: Callable[..., optuna.samplers.BaseSampler],
        seed: int,
    ) -> None:
        super().__init__(params)
        self.trials = trials
        self.parallel = parallel
        self.sampler = sampler
        self.seed = seed

    def search(self, fixed: list[str], swept: Mapping[str, Override]) -> None:
        """See `TabledSweeper.search`."""
        from spikerec.spikes.files import lock_folder  # PyTorch with it: not before a job runs

        space = {key: distribution(item) for key, item in swept.items()}
        journal = self.folder / "study.journal"
        study = self._study(journal)
        with lock_folder(self.folder, wait=True):  # a trial that runs elsewhere was not killed
            self._search(study, space, journal, fixed)

    def _search(
        self,
        study: optuna.Study,
        space: Mapping[str, optuna.distributions.BaseDistribution],
        journal: Path,
        fixed: list[str],
    ) -> None:
        from spikerec.sweeps.pruning import link

        self._recall(study, fixed)
        left = self.trials - len(self.jobs)
        while left > 0:
            trials = [study.ask(dict(space)) for _ in range(min(left, self.parallel))]
            jobs = [self.compose([*fixed, *_words(trial.params)]) for trial in trials]
            for trial, job in zip(trials, jobs, strict=True):
                link(job.folder, journal, self.name, trial.number)
            for trial, job, score in zip(trials, jobs, self.launch(jobs), strict=True):
                _tell(study, trial, job, score)
            left -= len(trials)

    def _study(self, journal: Path) -> optuna.Study:
        require("optuna", "hydra/sweeper=optuna")
        import optuna
        from optuna.storages.journal import JournalFileBackend

        journal.parent.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(JournalFileBackend(str(journal))),
            study_name=self.name,
            direction="maximize",  # what the app returns is better when higher
            load_if_exists=True,
        )
        # moved on by what is there: a sampler seeded alike would propose the same trials again
        study.sampler = self.sampler(seed=self.seed + len(study.trials))
        return study

    def _recall(self, study: optuna.Study, fixed: list[str]) -> None:
        """List the trials that have ended; queue again those that were killed or failed."""
        from optuna.trial import TrialState

        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        known = [trial.params for trial in study.get_trials(states=ended)]
        for trial in study.trials:
            if trial.state in ended:
                self.jobs.append(self.compose([*fixed, *_words(trial.params)]))
                continue
            if trial.state == TrialState.WAITING:
                continue
            if trial.state == TrialState.RUNNING:
                study.tell(trial.number, state=TrialState.FAIL)
            if trial.params not in known:
                study.enqueue_trial(trial.params)
                known.append(trial.params)


def _settings(config: DictConfig, folder: Path) -> dict[str, Any] | None:
    """A job's own settings as plain values; None where one of them has no value yet.

    Args:
        config: of the job, which is also Hydra's at the moment.
        folder: of its run, which Hydra knows once the job runs.
    """
    with read_write(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(folder)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        return plain(own)
    except OmegaConfBaseException:
        return None


def sweep_name(arguments: Sequence[str]) -> str:
    """The name of a sweep's folder: its words, a file of conf/sweep by its name alone.

    Example:
        >>> sweep_name(["+sweep=stir_loss", "data=reds"])
        'data-reds_stir_loss'
    """
    return run_name([word.removeprefix("+sweep=") for word in arguments])


def discrete(item: Override) -> list[str]:
    """The values of a list or range, as words."""
    return list(item.sweep_string_iterator())


def draw(item: Override, seed: str) -> str:
    """One value of a list, range or interval, as a word; the same for the same seed."""
    generator = random.Random(seed)  # noqa: S311 (an experiment's seed, not a secret)
    if item.is_discrete_sweep():
        return generator.choice(discrete(item))
    low, high, is_log, is_whole = bounds(item)
    if is_whole:
        return str(generator.randint(int(low), int(high)))
    value = (
        math.exp(generator.uniform(math.log(low), math.log(high)))
        if is_log
        else generator.uniform(low, high)
    )
    return f"{value:.{DRAWN_DIGITS}g}"


def bounds(item: Override) -> tuple[float, float, bool, bool]:
    """Low, high, whether on a logarithmic scale, whether whole numbers, of `interval(…)`."""
    interval = item.value()
    assert isinstance(interval, IntervalSweep)
    low, high = interval.start, interval.end
    assert low is not None
    assert high is not None
    is_log = "log" in interval.tags
    return low, high, is_log, isinstance(low, int) and isinstance(high, int)


def distribution(item: Override) -> optuna.distributions.BaseDistribution:
    """Optuna's distribution of a swept key: an interval, or the listed words."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if item.is_discrete_sweep():
        return CategoricalDistribution(discrete(item))
    low, high, is_log, is_whole = bounds(item)
    if is_whole:
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(low, high, log=is_log)


def _references(key: str) -> tuple[str, str]:
    """The interpolations by which a name may show what a key is set to."""
    return key, f"hydra:runtime.choices.{key}"


def _name_there_is(parent: Path, name: str) -> str:
    """The name under which an earlier sweep ran the same words, where it varied other keys.

    The digest at a name's end is that of all its words.
    """
    digest = _DIGEST.search(name)
    if digest is None or (parent / name).exists():
        return name
    alike = sorted(folder.name for folder in parent.glob(f"*{digest[0]}"))
    return alike[0] if alike else name


def _words(params: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in params.items()]


def _tell(study: optuna.Study, trial: optuna.Trial, job: Job, score: float | None) -> None:
    from optuna.trial import TrialState

    match job.outcome():
        case "pruned":
            study.tell(trial, state=TrialState.PRUNED)
        case "finished" if score is not None and math.isfinite(score):
            study.tell(trial, score)
        case _:
            study.tell(trial, state=TrialState.FAIL)


def fitting_view(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The table of a sweep with no figure broken: a line for each where the terminal is narrow."""
    from rich.measure import Measurement

    from spikerec.sweeps.table import upright

    view = _view(headings, rows)
    unbounded = console.options.update_width(MOST_COLUMNS)
    if Measurement.get(console, unbounded, view).maximum <= console.width:
        return view
    return _view([headings[0], "", ""], upright(headings, rows))


def _view(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for the terminal, whose first column names the rows."""
    from rich.table import Table
    from rich.text import Text

    view = Table(header_style="bold")
    for index, heading in enumerate(headings):
        view.add_column(Text(heading), justify="right" if index else "left", overflow="fold")
    for row in rows:
        view.add_row(*map(Text, row))
    return view
