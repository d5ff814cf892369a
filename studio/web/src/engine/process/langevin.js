/**
 * The Langevin processes, as critically damped diffusions in unit stationary coordinates.
 *
 *     CLD (arXiv 2112.07068):    dx = beta M^-1 v dt,  dv = -beta x dt - beta Gamma M^-1 v dt
 *                                + sqrt(2 beta Gamma) dw,  Gamma = 2 sqrt(M),  w = M^-1/2
 *     PSLD (arXiv 2303.01748):   noise on position and velocity, M^-1 = (Gamma - nu)^2 / 4
 *     HOLD3 (arXiv 2404.12814):  position, velocity, acceleration; only the last is noised
 *
 * "hsm" integrates the auxiliary initial values, N(0, gamma M) and so on, out.
 */

import { CriticallyDamped } from "./critical.js";

export class CLD extends CriticallyDamped {
  kind = "cld";

  constructor({ m_inv, beta, gamma, objective }) {
    const w = Math.sqrt(m_inv);
    super(
      [
        [0, w],
        [-w, -2 * w],
      ],
      beta,
      [0, gamma],
      [1, 1 / w],
      objective,
    );
  }
}

export class PSLD extends CriticallyDamped {
  kind = "psld";

  constructor({ gamma, nu, beta, kappa, objective }) {
    const w = Math.abs(nu - gamma) / 2;
    super(
      [
        [-gamma, w],
        [-w, -nu],
      ],
      beta / 2,
      [0, kappa],
      [1, 1 / w],
      objective,
    );
  }
}

export class HOLD3 extends CriticallyDamped {
  kind = "hold3";

  constructor({ omega, beta, aux_variance, objective }) {
    const c1 = omega / Math.sqrt(3);
    const c2 = omega * Math.sqrt(8 / 3);
    const drift = [
      [0, c1, 0],
      [-c1, 0, c2],
      [0, -c2, -3 * omega],
    ];
    super(drift, beta, [0, aux_variance, aux_variance], [1, 1, 1], objective);
  }
}
