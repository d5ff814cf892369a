/** Gauss-Legendre quadrature with ten nodes, on the unit interval. */

const HALF = [
  [0.1488743389816312, 0.2955242247147529],
  [0.4333953941292472, 0.2692667193099963],
  [0.6794095682990244, 0.2190863625159821],
  [0.8650633666889845, 0.1494513491505806],
  [0.9739065285171717, 0.0666713443086881],
];

const both = [...HALF.map(([x, w]) => [-x, w]).reverse(), ...HALF];
export const NODES = both.map(([x]) => (x + 1) / 2);
export const WEIGHTS = both.map(([, w]) => w / 2);
