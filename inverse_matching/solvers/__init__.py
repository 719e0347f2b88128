"""x = T^-1(z), exactly: of one batch by name (`solve`); of many examples over devices in `batched`."""
from inverse_matching.solvers.fixed_point import TOLERANCE, Solution, ancestral, exact, fixed_point
from inverse_matching.solvers.solve import SOLVERS, check, choose, serves, solve
