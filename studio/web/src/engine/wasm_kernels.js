/** The WebAssembly kernels that the networks and their gradients use; the others stay outside. */

import { _fusedMatMulConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/_FusedMatMul.js";
import { addConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Add.js";
import { avgPoolConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/AvgPool.js";
import { batchMatMulConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/BatchMatMul.js";
import { castConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Cast.js";
import { concatConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Concat.js";
import { conv2DConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Conv2D.js";
import { cosConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Cos.js";
import { fusedConv2DConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/FusedConv2D.js";
import { identityConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Identity.js";
import { multiplyConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Multiply.js";
import { padV2Config } from "@tensorflow/tfjs-backend-wasm/dist/kernels/PadV2.js";
import { reshapeConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Reshape.js";
import { reverseConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Reverse.js";
import { rsqrtConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Rsqrt.js";
import { sigmoidConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Sigmoid.js";
import { sinConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Sin.js";
import { sliceConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Slice.js";
import { softmaxConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Softmax.js";
import { subConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Sub.js";
import { sumConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Sum.js";
import { tileConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Tile.js";
import { fastTransposeConfig } from "./wasm_transpose.js";

export const WASM_KERNELS = [
  addConfig,
  avgPoolConfig,
  batchMatMulConfig,
  castConfig,
  concatConfig,
  conv2DConfig,
  cosConfig,
  _fusedMatMulConfig,
  fusedConv2DConfig,

  identityConfig,
  multiplyConfig,
  padV2Config,
  reshapeConfig,
  reverseConfig,
  rsqrtConfig,
  sigmoidConfig,
  sinConfig,
  sliceConfig,
  softmaxConfig,
  subConfig,
  sumConfig,
  tileConfig,
  fastTransposeConfig,
];
