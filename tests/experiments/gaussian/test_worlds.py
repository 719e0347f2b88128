"""The claims of the Gaussian studies in made-up worlds: where the paper is right on all of them, and where it is wrong."""
import numpy as np
import pytest

from inverse_matching.experiments.experiment import Rows
from inverse_matching.experiments.gaussian import claims

DIMENSIONS, INITS = (2, 64), ('I', 'R')
JITTER = 1 + 0.01 * np.arange(10)  # of ten seeds, which decide eight tests: 8 * 2 / 2^10 is below 0.05


def identities(right):
  """Rows of proposition1, spectra, and the laws of norms."""
  error, falling = 0 if right else 0.1, lambda at_64: dict(zip(DIMENSIONS, (0.4, at_64 if right else 0.4)))
  normalised, plain, smallest = falling(0.01), falling(0.1), falling(1e-3)
  table = [dict(covariance=name, dimension=n, probability=mean[n], monte_carlo=mean[n] + error,
                closed_form=mean[n] + error if n == 2 else None, smallest_eigenvalue=smallest[n])
           for name, mean in (('R R^T / T', normalised), ('R R^T', plain)) for n in DIMENSIONS]
  spectra = [dict(kind='real', data='digits', dimension=64, logit_lambda=0.01, student=student,
                  probability=1e-5 if right else 0.2) for student in ('same trace', 'least KL')]
  spectra += [dict(kind='controlled', condition=100, loss='z_reconstruction', sigma=sigma, abs_log_scale_error=wrong)
              for sigma, wrong in zip((0.1, 1, 10), (0.1, 0.1, 1.0 if right else 0.1))]
  norm = 2.0 if right else 1.4
  laws = [dict(kind='concentration', dimension=n, law='wide', squared_norm=norm, norm=norm, second_moment=2.0)
          for n in DIMENSIONS]
  return table, spectra, laws


def worlds(sign, right):
  """Every experiment, where each difference between seeds has this sign: of 1 the paper's, and each threshold is met or not."""
  proposition1, spectra, laws = identities(right)
  centre = 0.5
  signal = lambda n, scale: dict(start=centre - 0.2 * sign * scale, early=centre + 0.15 * sign * scale,
                                 middle=centre + 0.2 * sign * scale, late=centre + sign * scale * (0.1 if n == 2 else -0.1))
  curves = [dict(kind='windows', init=init, dimension=n, **signal(n, scale))
            for init in INITS for n in DIMENSIONS for scale in JITTER]
  stays = 0.01 if right else 1.0
  curves += [dict(kind='curve', init='I', dimension=64, step=step, probability=0.1, mean_mahalanobis=at, mean_distance=at,
                  kl=1.0 if right else 0.01) for step, at in ((0, 1.0), (1000, stays), (5000, stays))]
  shift = lambda n: sign * (2.0 if n == 64 else 1.0)
  student = {'teacher': (0.0, 1.0, 0.1), 'reverse_kl': (1.0, 1.0, 0.5), 'z_reconstruction': (0.0, np.exp(-sign), 0.5),
             'x_reconstruction': (0.0, np.exp(-2 * sign), 0.11)}  # shift, KL, KS
  if not right:
    student.update(z_reconstruction=(0.0, np.exp(-sign), 0.1), x_reconstruction=(0.0, np.exp(-2 * sign), 0.2))
  figure2 = [dict(loss=loss, init=init, dimension=n, mean_shift=shifted * shift(n) * scale, kl=kl**scale, ks=ks,
                  teacher_log_prob=-n if right else -2.0)
             for loss, (shifted, kl, ks) in student.items() for init in INITS for n in DIMENSIONS for scale in JITTER]
  mismatch = [dict(kind='mismatch', loss='reverse_kl', norm=norm, ratio=0.5, ks=0.5 if right else 0.01)
              for norm in ('l1', 'l2')]
  modes = [dict(loss=loss, modes_kept=kept, kl=1.0) for _ in JITTER
           for loss, kept in (('x_reconstruction', 8), ('reverse_kl', 8 - 4 * sign))]
  return {name: Rows(rows) for name, rows in dict(
      proposition1=proposition1, spectra=spectra, figure3=curves, figure2=figure2, norms=laws + mismatch, modes=modes).items()}


@pytest.mark.parametrize('sign,right,verdict', [(1, True, 'agrees'), (-1, False, 'disagrees')])
def test_every_claim_knows_the_paper_from_its_opposite(sign, right, verdict):
  """All agree where the paper is right; all disagree where differences have the other sign and no threshold is met."""
  found = claims.claims(worlds(sign, right))
  assert len(found) == 22
  assert not [(claim.text, claim.number) for claim in found if claim.verdict != verdict]


def test_one_dimension_over_the_margin_is_enough():
  """x-reconstruction is robust where the KS of every dimension is within the margin, from every initial R."""
  tables = worlds(1, True)
  for row in tables['figure2'].where(loss='x_reconstruction', init='R', dimension=64):
    row['ks'] += 0.05
  verdict, = (claim.verdict for claim in claims.claims(tables) if 'robust to the dimension' in claim.text)
  assert verdict == 'disagrees'
  for i, row in enumerate(tables['figure2'].where(loss='x_reconstruction', init='R', dimension=64)):
    row['ks'] += 0.2 * (-1)**i - 0.03
  verdict, = (claim.verdict for claim in claims.claims(tables) if 'robust to the dimension' in claim.text)
  assert verdict == 'not decided'
