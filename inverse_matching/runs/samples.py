"""Samples of a run as files."""
import contextlib
import os
import pathlib
import time

from absl import logging
import numpy as np

from inverse_matching import runs
from inverse_matching.data.speech import audio, world
from inverse_matching.errors import InputError
from inverse_matching.runs import utterances
from inverse_matching.runtime import files
from inverse_matching.runtime.progress import Progress
from inverse_matching.training.tensorboard import Board


def sample(workdir: str | os.PathLike, output: str | os.PathLike, *, teacher_workdir: str | os.PathLike | None, num: int,
           seed: int, solver: str = 'auto', devices: int | None = None) -> None:
  """Writes samples.npz ('x' [N, *event] in data space, 'z' [N, *event]) and samples.png: the first 100 images, or a scatter of
  the first two dimensions.

  The same seed gives the same z for a teacher and its students, on any number of devices; of a teacher without T^-1, z is T(x).

  Args:
    workdir: of a teacher or a student.
    output: folder to write to.
    teacher_workdir: of the teacher, if `workdir` is a student.
    num: number of samples.
    seed: of the prior draws.
    solver: for a teacher, see solvers.solve.
    devices: number of local devices, or None for all.
  """
  files.check_folder(output)
  is_student = teacher_workdir is not None
  run = runs.load_teacher(teacher_workdir if is_student else workdir)
  if None in run.space.event_shape:
    raise InputError('This is a model of speech, which speaks what a recording says: give one by --wav=in.wav '
                     '--output=out.wav.')
  with Progress('samples', num, unit='sample') as progress:
    if is_student:
      z, student_run = runs.prior_draws(run.teacher, seed, np.arange(num)), runs.load_student(workdir, run)
      x = runs.generate(student_run, z, devices, progress.update)
    else:
      pairs = runs.draw_pairs(run, num, seed, solver=solver, devices=devices, progress=progress.update)
      z, x = pairs['z'], pairs['x']
  data = np.asarray(run.space.codec.to_data(x))
  files.write_arrays(pathlib.Path(output) / 'samples.npz', x=data, z=z)
  is_image = run.space.levels is not None
  picture = files.image_grid(data[:100], min(10, num), run.space.levels) if is_image else _scatter(data)
  files.write_png(pathlib.Path(output) / 'samples.png', picture, zoom=4 if is_image else 1)
  with _board(output) as board:
    board.image(runs.last_step(workdir), 'samples', picture)


def _scatter(rows: np.ndarray) -> np.ndarray:
  """A uint8 picture [H, W, 3] of the first two dimensions of rows [N, D], or of the histogram of a single one."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
  from matplotlib.figure import Figure
  figure = Figure(figsize=(4, 4), dpi=120, layout='constrained')
  canvas, axis = FigureCanvasAgg(figure), figure.subplots()
  axis.set_xlabel('dimension 0')
  if rows.shape[1] == 1:
    axis.hist(rows[:, 0], bins='auto')
    axis.set_ylabel('samples')
  else:
    axis.scatter(rows[:, 0], rows[:, 1], s=4, linewidths=0)
    axis.set_ylabel('dimension 1')
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3]


def _board(folder: str | os.PathLike) -> contextlib.closing:
  """Opens a board apart from the numbers of the training: TensorBoard reads on only in the last file of a folder."""
  return contextlib.closing(Board(pathlib.Path(folder) / 'tensorboard' / 'samples'))


def copy_synthesis(workdir: str | os.PathLike, wav: str | os.PathLike, output: str | os.PathLike, *,
                   teacher_workdir: str | os.PathLike | None, seed: int, solver: str = 'auto',
                   devices: int | None = None) -> float:
  """Speaks a recording again from its WORLD features, through a teacher or a student, and writes it as wav.

  Args:
    workdir: of a teacher or a student of speech.
    wav: a wav or flac file of any rate; it is brought to that of the model.
    output: wav file to write.
    teacher_workdir: of the teacher, if `workdir` is a student.
    seed: of the prior draw.
    solver: for a teacher, see solvers.solve.
    devices: number of local devices, or None for all.

  Returns:
    The real-time factor: seconds of work, compilation apart, over seconds of speech.

  Raises:
    InputError: not a model of speech, or not a recording.
  """
  run = runs.load_teacher(teacher_workdir or workdir)
  if None not in run.space.event_shape:
    raise InputError('--wav is for models of speech, and this one is of images: leave it out.')
  speech = run.space.codec
  waveform = audio.read(wav, speech.rate).waveform
  features = world.analyse(waveform, speech.rate, speech.num_cepstra)
  features = speech.cond(waveform[:len(features) * speech.hop], features)
  z = utterances.prior_draws(run.teacher, seed, np.zeros(1, np.uint32), [len(features)], speech.hop)
  if teacher_workdir is None:
    params, speak = run.params, utterances.solver_fn(run.teacher, solver, 1, chunk=1)
  else:
    student_run = runs.load_student(workdir, run)
    params, speak = student_run.params, utterances.student_fn(student_run.student, 1, chunk=1)
  speak(params, z, [features])  # compiles
  start = time.perf_counter()
  x, = speak(params, z, [features])
  factor = (time.perf_counter() - start) / (len(x) / speech.rate)
  audio.write(output, x, speech.rate)
  with _board(pathlib.Path(output).parent) as board:
    board.audio(runs.last_step(workdir), 'speech', x, speech.rate)
  logging.info('%s: %.2f s of speech at %d Hz, real-time factor %.3f.', output, len(x) / speech.rate, speech.rate, factor)
  return factor
