"""What happens in the folder of a run: train a teacher, make pairs, distil a student, load either."""
from inverse_matching.runs.models import (
  StudentRun,
  TeacherRun,
  check,
  distill,
  generate,
  import_teacher,
  last_step,
  load_student,
  load_teacher,
  train_teacher,
)
from inverse_matching.runs.pairs import PAIRS_FROM, draw_pairs, make_pairs, prior_draws, source_of_pairs
