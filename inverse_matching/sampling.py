"""Samples of a run as files."""
import os
import pathlib

import numpy as np

from inverse_matching import files, parallel, runs, solving, writer
from inverse_matching.progress import Progress


def sample(workdir: str | os.PathLike, output: str | os.PathLike, *, teacher_workdir: str | os.PathLike | None, num: int,
           seed: int, solver: str = 'auto', devices: int | None = None) -> None:
  """Writes samples.npz ('x' [N, *event] integers in data space, 'z' [N, *event]) and samples.png (the first 100).

  The same seed gives the same z for a teacher and its students, on any number of devices.

  Args:
    workdir: of a teacher or a student.
    output: folder to write to.
    teacher_workdir: of the teacher, if `workdir` is a student.
    num: number of samples.
    seed: of the prior draws.
    solver: for a teacher, see solvers.solve.
    devices: number of local devices, or None for all.
  """
  is_student = teacher_workdir is not None
  run = runs.load_teacher(teacher_workdir if is_student else workdir)
  z = runs.prior_draws(run.teacher, seed, np.arange(num))
  with Progress('samples', num, unit='sample') as progress:
    if is_student:
      student_run = runs.load_student(workdir, run)
      num_devices = parallel.choose_devices(requested=devices)
      generate = parallel.map_examples(lambda params, z: student_run.student.z_to_x(params, z).x, num_devices, parallel.CHUNK)
      x = generate(student_run.params, z, progress=progress.update)
    else:
      x = solving.solver_fn(run.teacher, solver, devices)(run.params, z, progress=progress.update).x
  pixels = np.asarray(run.preprocess.to_pixels(x))
  files.write_arrays(pathlib.Path(output) / 'samples.npz', x=pixels, z=z)
  picture = writer.image_grid(pixels[:100], min(10, num), run.images.levels)
  writer.write_png(pathlib.Path(output) / 'samples.png', picture)
