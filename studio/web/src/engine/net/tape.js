/**
 * Gradients of a network: the forward pass is recorded once, and gone back over as often as needed.
 */

import * as tf from "@tensorflow/tfjs-core";
import { backpropagateGradients, getFilteredNodesXToY } from "@tensorflow/tfjs-core/dist/tape.js";

export class Tape {
  /**
   * Record y = f().
   * @param {() => tf.Tensor} f
   * @param {(() => tf.Tensor[])} of the tensors to take gradients in, asked for after f ran
   */
  constructor(f, of) {
    const engine = tf.engine();
    engine.startTape();
    try {
      this.y = tf.keep(tf.tidy(f));
    } finally {
      engine.endTape();
      this.nodes = engine.state.activeTape;
      engine.state.activeTape = null;
    }
    this.xs = of();
    this.path = getFilteredNodesXToY(this.nodes, this.xs, this.y);
  }

  /**
   * Return (dy/dx)^T v for every x.
   * @param {tf.Tensor} v of y's shape
   * @returns {tf.Tensor[]}
   */
  back(v) {
    return tf.tidy(() => {
      const gradients = { [this.y.id]: v };
      backpropagateGradients(gradients, this.path, tf.tidy, (a, b) => tf.add(a, b));
      return this.xs.map((x) => gradients[x.id]);
    });
  }

  /** Free what was kept for the way back. */
  release() {
    for (const { saved } of this.nodes) for (const tensor of saved ?? []) tensor.dispose();
    this.y.dispose();
  }
}
