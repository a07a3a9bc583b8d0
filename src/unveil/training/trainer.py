"""The training loop: steps, averaged weights, checkpoints, validation. The task defines the step."""

import json
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from rich.console import Console
from torch import nn

from unveil.io.files import atomic_write
from unveil.models.checkpoints import weights_bytes
from unveil.models.network import NetworkSpec
from unveil.training.reporting import Reporter
from unveil.training.runtime import any_process, channels_last, interruptible, precision_for
from unveil.training.state import CHECKPOINT, EMA, TrainState
from unveil.training.task import FitResult, LaunchError, Task, Updater

__all__ = ["FitResult", "LaunchError", "fit", "save_weights"]


def fit(task: Task, out: Path, *, resume: bool = False, console: Console | None = None) -> FitResult:
    """Train until the schedule ends, or until Ctrl-C or a termination request, which saves.

    The run's folder gets `config.json`, `checkpoint.pt`, `last.safetensors`, `best.safetensors` with `best.json`,
    `metrics.jsonl` and `tensorboard/`. Of several processes, started by accelerate or torchrun, each trains on its part
    of every batch; the first one validates, writes and reports.

    Args:
        task: The model, the data and the losses.
        out: The run's folder.
        resume: Continue from its checkpoint.
        console: Where to print; stderr by default.

    Returns:
        The result of the run.

    Raises:
        LaunchError: The checkpoint does not fit, a tracker is not installed, or there are more processes than the faces
            allow. Nothing is written.

    Example:
        >>> faces = read_faces(Path("faces"))  # a pack, or a folder of images with .pts files
        >>> result = fit(LandmarkTask(faces, LandmarkTrainConfig()), Path("runs/light"))
    """
    config, schedule = task.config, task.config.schedule
    accelerator = _accelerator(task, out)
    if accelerator.device.type == "cpu":
        torch.set_num_threads(config.threads)
    optimiser = torch.optim.AdamW(task.parameter_groups(), betas=(0.9, 0.99))
    model, optimiser = accelerator.prepare(channels_last(task.model), optimiser)
    learner = accelerator.unwrap_model(model)
    averaged = learner.get_submodule(task.ema_module)
    ema = EMA(averaged, schedule.ema)
    lrs = [group["lr"] for group in optimiser.param_groups]
    state = TrainState(task.spec.network, learner, averaged, ema, optimiser, config.compact_checkpoint)
    if resume:
        state.load(out / CHECKPOINT)
    try:
        batches = task.batches(state.step, accelerator.process_index, accelerator.num_processes)
    except ValueError as error:
        raise LaunchError(str(error)) from error
    first = accelerator.is_main_process
    if first:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(out / "config.json") as temporary:
            temporary.write_text(config.model_dump_json(indent=2) + "\n")
    if config.tracker:
        accelerator.init_trackers("unveil", config=json.loads(config.model_dump_json()))

    def save() -> None:
        state.save(out / CHECKPOINT)
        save_weights(ema.model, task.spec, out / "last.safetensors")

    def validate(step: int) -> None:
        metrics = task.validate(ema.model, accelerator.device)
        reporter.validation(step, metrics)
        if not metrics["score"] >= state.best["score"] or "step" not in state.best:
            state.best = metrics | {"step": step}
            save_weights(ema.model, task.spec, out / "best.safetensors")
            with atomic_write(out / "best.json") as temporary:
                temporary.write_text(json.dumps(state.best, indent=2) + "\n")

    update = Updater(accelerator, model, optimiser, schedule.max_grad_norm)
    faces_per_step = schedule.batch * accelerator.num_processes
    reporter = Reporter(
        out, console, steps=schedule.steps, batch=faces_per_step, start=state.step, accelerator=accelerator
    )
    stopped = False
    with reporter, interruptible() as interrupted:
        while state.step < schedule.steps and not (stopped := any_process(accelerator, interrupted)):
            factor = schedule.lr_factor(state.step)
            for group, lr in zip(optimiser.param_groups, lrs, strict=True):
                group["lr"] = lr * factor
            batch = task.prepare(next(batches), accelerator.device)
            losses = task.step(update, batch, state.step)
            ema.update(averaged, state.step)
            step = state.step = state.step + 1
            if not first:
                continue
            reporter.training(step, losses, schedule.lr * factor)
            if step % config.image_every == 0:
                reporter.image(step, task.sample_image(ema.model, batch))
            if step % config.validate_every == 0 or step == schedule.steps:
                validate(step)
            if step % config.checkpoint_every == 0:  # after the validation, so that it holds the best score
                save()
        if first:
            save()
            if "step" not in state.best:  # interrupted before the first validation, which will replace this file
                save_weights(ema.model, task.spec, out / "best.safetensors")
    if config.tracker:
        accelerator.end_training()
    return FitResult(state.step, state.best, stopped or bool(interrupted))


def save_weights(model: nn.Module, spec: NetworkSpec, path: Path) -> None:
    """Write a network's weights as safetensors, atomically.

    Args:
        model: The network.
        spec: Its record.
        path: The file.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(weights_bytes(model, spec))


def _accelerator(task: Task, out: Path) -> Accelerator:
    config = task.config
    for tracker in config.tracker:
        if find_spec(tracker) is None:
            raise LaunchError(f"--tracker {tracker}: {tracker} is not installed; pip install {tracker}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    AcceleratorState._reset_state()  # an earlier run in this process may have had another precision
    try:
        return Accelerator(
            cpu=device.type == "cpu",
            mixed_precision=precision_for(config.precision, device),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=task.partial_updates)],
            log_with=list(config.tracker) or None,
            project_dir=str(out),
        )
    except (ImportError, ValueError) as error:
        raise LaunchError(f"--tracker {' '.join(config.tracker)}: {error}") from error
